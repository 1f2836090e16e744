/*
 * compat.h
 *
 * The only file that looks at PG_VERSION_NUM: newer spellings, shimmed where
 * an older server lacks them.
 */
#ifndef SPINPANEL_COMPAT_H
#define SPINPANEL_COMPAT_H

#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#include "utils/guc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "spinpanel needs PostgreSQL 15 or newer"
#endif

/* A random number from 0 up to but not including 1 */
#define SpinpanelRandom() pg_prng_double(&pg_global_prng_state)

/* CreateWaitEventSet: a memory context to 16, a resource owner from 17 */
#if PG_VERSION_NUM >= 170000
#define SpinpanelCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#define SpinpanelWaitEvent(name) WaitEventExtensionNew(name)
#else
#define SpinpanelCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#define SpinpanelWaitEvent(name) PG_WAIT_EXTENSION
#endif

#endif /* SPINPANEL_COMPAT_H */
