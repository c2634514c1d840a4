/* mica: native inference of large language models. This header includes the whole public API. */
#pragma once
#include "mica/status.h"
#include "mica/array.h"
#include "mica/ops.h"
#include "mica/model.h"
#include "mica/tokenizer.h"
#include "mica/engine.h"
#include "mica/profile.h"
#include "mica/hub.h"
#include "mica/convert.h"
