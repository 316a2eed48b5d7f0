set(PINTLE_VERSION_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/plugin.version)
# pintle_add_plugin(NAME SRCS ... [LIBS ...]): one plugin as a shared object, the same way inside and outside the tree.
#   - plugin.yaml beside the CMakeLists.txt, with the kinds and types it names, becomes the manifest: in an ELF note and in code;
#   - hidden visibility, no unique symbols, one exported symbol, no undefined ones.
function(pintle_add_plugin NAME)
  cmake_parse_arguments(ARG "" "OUTPUT_DIRECTORY" "SRCS;LIBS" ${ARGN})
  set(manifest ${CMAKE_CURRENT_BINARY_DIR}/${NAME}.manifest.c)
  file(GLOB_RECURSE described CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.yaml)
  add_custom_command(
    OUTPUT ${manifest}
    COMMAND Pintle::manifest embed ${CMAKE_CURRENT_SOURCE_DIR}/plugin.yaml ${manifest}
    DEPENDS Pintle::manifest ${described}
    COMMENT "Manifest of ${NAME}" VERBATIM)
  add_library(${NAME} MODULE ${ARG_SRCS} ${manifest})
  set_source_files_properties(${manifest} PROPERTIES SKIP_LINTING ON SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(${NAME} PRIVATE Pintle::sdk ${ARG_LIBS})
  if(TARGET pintle_build_flags)
    target_link_libraries(${NAME} PRIVATE pintle_build_flags)
  endif()
  set_target_properties(${NAME} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(ARG_OUTPUT_DIRECTORY)
    set_target_properties(${NAME} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${ARG_OUTPUT_DIRECTORY})
  elseif(PROJECT_NAME STREQUAL "pintle")
    set_target_properties(${NAME} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/pintle/plugins)
    add_dependencies(product ${NAME})
  endif()
  target_compile_features(${NAME} PRIVATE cxx_std_20)
  target_compile_options(${NAME} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  target_link_options(${NAME} PRIVATE -Wl,--version-script=${PINTLE_VERSION_SCRIPT} -Wl,-z,defs -Wl,--gc-sections)
endfunction()

# pintle_add_plugin_test(NAME PLUGIN plugin SRCS ...): a GoogleTest binary with Pintle::testing; PINTLE_PLUGIN_UNDER_TEST is the
# path of the plugin's .so.
function(pintle_add_plugin_test NAME)
  cmake_parse_arguments(ARG "" "PLUGIN" "SRCS;LIBS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${NAME} ${ARG_SRCS})
  target_link_libraries(${NAME} PRIVATE Pintle::testing Pintle::sdk ${ARG_LIBS} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${NAME} PRIVATE PINTLE_PLUGIN_UNDER_TEST="$<TARGET_FILE:${ARG_PLUGIN}>")
  add_dependencies(${NAME} ${ARG_PLUGIN})
  if(TARGET pintle_build_flags)
    target_link_libraries(${NAME} PRIVATE pintle_build_flags)
    set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  endif()
  enable_testing()
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES LABELS plugin)
  if(COMMAND pintle_label)
    pintle_label(${NAME} plugin)
  endif()
endfunction()
