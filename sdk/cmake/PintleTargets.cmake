# Targets of this tree: pintle_library(NAME ... SRCS ... DEPS ...), pintle_test(NAME ... SRCS ... DEPS ...).
# Every own target gets the warnings below, as errors in Debug builds (optimising ones report what is none, compiler by compiler); includes are rooted at the source tree.
add_library(pintle_build_flags INTERFACE)
target_include_directories(pintle_build_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/sdk/include)
# -Wrestrict: GCC 12 reports overlaps in std::string that are none (GCC bug 105651).
target_compile_options(pintle_build_flags INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CONFIG:Debug>:-Werror>)
# Several files as one (presets release, asan, tsan: a third of the time): their anonymous namespaces lie in a file that is none of them.
if(CMAKE_UNITY_BUILD)
  target_compile_options(pintle_build_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()

option(PINTLE_ASAN "Address and undefined behaviour sanitizers" OFF)
option(PINTLE_TSAN "Thread sanitizer" OFF)
if(PINTLE_ASAN)
  target_compile_options(pintle_build_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(pintle_build_flags INTERFACE -fsanitize=address,undefined)
endif()
if(PINTLE_TSAN)
  target_compile_options(pintle_build_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(pintle_build_flags INTERFACE -fsanitize=thread)
endif()

if(PINTLE_ASAN OR PINTLE_TSAN)
  # GCC 12 takes what a sanitizer adds for paths on which std::optional is read empty.
  target_compile_options(pintle_build_flags INTERFACE -Wno-maybe-uninitialized)
endif()

function(pintle_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_DEPS} PRIVATE pintle_build_flags)
  target_include_directories(${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/sdk/include)
endfunction()

# Target tests-LABEL builds the tests of a label.
function(pintle_label TEST LABEL)
  if(NOT TARGET tests-${LABEL})
    add_custom_target(tests-${LABEL})
  endif()
  add_dependencies(tests-${LABEL} ${TEST})
endfunction()

# One test binary; GoogleTest's main comes with it. LABELS sorts it into groups of scripts/test.
function(pintle_test)
  cmake_parse_arguments(ARG "" "NAME" "LABELS;SRCS;DEPS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} pintle_build_flags GTest::gmock GTest::gtest GTest::gtest_main)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABELS}")
  # At once: a report of a pintle-host that runs on would be among the lines that the test takes from it.
  if(PINTLE_TSAN)
    set_tests_properties(${ARG_NAME} PROPERTIES ENVIRONMENT "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
  elseif(PINTLE_ASAN)
    set_tests_properties(${ARG_NAME} PROPERTIES ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1")
  endif()
  foreach(label ${ARG_LABELS})
    pintle_label(${ARG_NAME} ${label})
  endforeach()
endfunction()
