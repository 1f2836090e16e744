/*
 * unit.h
 *
 * One unit of the worker's work in the database: a short transaction of its
 * own, never open across the network.
 */
#ifndef SPINPANEL_UNIT_H
#define SPINPANEL_UNIT_H

#include "postgres.h"

typedef void (*UnitFunction)(void *arg);

typedef enum UnitDurability
{
	UNIT_REPEATABLE, /* may be lost in a crash: it would be read again */
	UNIT_DURABLE /* on disk (and on synchronous standbys) when
								 * spinpanel_unit() returns */
} UnitDurability;

/*
 * Runs function(arg) in a transaction, connected to SPI; true when it committed.  On an error
 * everything is rolled back, the error is logged with the activity as context,
 * and false is returned: the caller decides about trying again.  Also false,
 * without a log line, while the extension does not exist or somebody is about
 * to drop or update it.
 */
extern bool spinpanel_unit(const char *activity, UnitFunction function, void *arg,
						   UnitDurability durability);

/* The extension is there, of a version this binary can drive, and the same as
 * at the first call that found one; see spinpanel_unit_extension_changed(). */
extern bool spinpanel_unit_ready(void);

/* The extension that work in memory belongs to is gone or another one. */
extern bool spinpanel_unit_extension_changed(void);
/* Memory has been cleared: take up with whatever extension there is. */
extern void spinpanel_unit_forget_extension(void);

/* Message of the error that made the last unit fail, "" if none. */
extern const char *spinpanel_unit_error(void);

#endif /* SPINPANEL_UNIT_H */
