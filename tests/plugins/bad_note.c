/* A shared object without a note: not a plugin. */
int pintle_plugin_entry = 0;
