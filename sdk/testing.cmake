# The harness that runs one plugin without a kernel (for tests of plugins, here and in other trees).
add_library(pintle_testing STATIC src/testing/harness.cc)
add_library(Pintle::testing ALIAS pintle_testing)
target_link_libraries(pintle_testing PUBLIC pintle_sdk PRIVATE ${CMAKE_DL_LIBS} $<BUILD_INTERFACE:pintle_build_flags>)

# The installed SDK: headers, static libraries, CMake package, manifest tool, templates. Component "sdk".
include(CMakePackageConfigHelpers)
target_include_directories(pintle_testing PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(pintle_sdk PROPERTIES EXPORT_NAME sdk)
set_target_properties(pintle_testing PROPERTIES EXPORT_NAME testing)
set_target_properties(pintle-manifest PROPERTIES EXPORT_NAME manifest)
add_executable(Pintle::manifest ALIAS pintle-manifest)
set(PINTLE_SDK_TARGETS pintle_sdk pintle_testing pintle-manifest)
if(TARGET pintle_scheduling_sdk)
  set_target_properties(pintle_scheduling_sdk PROPERTIES EXPORT_NAME scheduling)
  list(APPEND PINTLE_SDK_TARGETS pintle_scheduling_sdk)
endif()
install(TARGETS ${PINTLE_SDK_TARGETS} EXPORT PintleTargets COMPONENT sdk
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/pintle/sdk RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT PintleTargets NAMESPACE Pintle:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pintle COMPONENT sdk)
configure_package_config_file(cmake/PintleConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/PintleConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pintle)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/PintleConfigVersion.cmake VERSION ${PINTLE_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/PintleConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/PintleConfigVersion.cmake
  cmake/PintlePlugin.cmake cmake/plugin.version DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pintle COMPONENT sdk)
install(DIRECTORY include/pintle DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk)
install(DIRECTORY template/ DESTINATION ${CMAKE_INSTALL_DATADIR}/pintle/template COMPONENT sdk)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/pintle/sdk COMPONENT sdk)
