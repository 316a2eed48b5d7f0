// Everything a plugin needs. See sdk/docs/writing-a-plugin.md.
#pragma once
#include "pintle/abi.h"
#include "pintle/host.h"
#include "pintle/json.h"
#include "pintle/plugin.h"
#include "pintle/result.h"
