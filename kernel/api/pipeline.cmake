find_package(ZLIB REQUIRED)
pintle_library(NAME pintle_api
  SRCS status.cc object_text.cc pipeline.cc pipeline_authorize.cc pipeline_body.cc pipeline_write.cc pipeline_delete.cc
       pipeline_subresource.cc pipeline_admission.cc pipeline_convert.cc pipeline_list.cc pipeline_expiry.cc
       authenticate.cc connect.cc documents.cc exchange.cc frames.cc metrics.cc negotiate.cc rest.cc rest_documents.cc rest_list.cc rest_routes.cc
       stream_bridge.cc table.cc watch_stream.cc
  DEPS pintle_schema pintle_store pintle_bus pintle_run pintle_front pintle_streams pintle_sdk ZLIB::ZLIB)
