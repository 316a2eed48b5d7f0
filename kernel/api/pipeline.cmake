pintle_library(NAME pintle_api
  SRCS status.cc object_text.cc pipeline.cc pipeline_authorize.cc pipeline_body.cc pipeline_write.cc pipeline_delete.cc
       pipeline_subresource.cc pipeline_admission.cc pipeline_convert.cc pipeline_list.cc
  DEPS pintle_schema pintle_store pintle_bus pintle_run pintle_sdk)
