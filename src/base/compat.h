/*
 * compat.h
 *
 * The only file that looks at PG_VERSION_NUM: newer spellings, shimmed where
 * an older server lacks them.
 */
#ifndef SPINPANEL_COMPAT_H
#define SPINPANEL_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "utils/guc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#define SPINPANEL_REQUEST_SHMEM_AT_INIT 1
#endif

/* A random number from 0 up to but not including 1 */
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#define SpinpanelRandom() pg_prng_double(&pg_global_prng_state)
#else
#define SpinpanelRandom() ((double) random() / ((double) MAX_RANDOM_VALUE + 1))
#endif

/* CreateWaitEventSet: a memory context to 16, a resource owner from 17 */
#if PG_VERSION_NUM >= 170000
#define SpinpanelCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#define SpinpanelWaitEvent(name) WaitEventExtensionNew(name)
#else
#define SpinpanelCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#define SpinpanelWaitEvent(name) PG_WAIT_EXTENSION
#endif

#if PG_VERSION_NUM < 150000
extern void spinpanel_init_materialized_srf(FunctionCallInfo fcinfo);
#define InitMaterializedSRF(fcinfo, flags) spinpanel_init_materialized_srf(fcinfo)
#endif

#endif /* SPINPANEL_COMPAT_H */
