/*
 * require.h
 *
 * What every SQL function asks first.
 */
#ifndef SPINPANEL_REQUIRE_H
#define SPINPANEL_REQUIRE_H

#include "postgres.h"

/* 22004 where a parameter that needs a value has none. */
extern void spinpanel_require_value(bool given, const char *parameter);

/* 25006 on a standby: nothing can be written down there. */
extern void spinpanel_require_primary(void);

/*
 * 55000 where no worker can ever do what is asked for: the library is not
 * preloaded.  A warning where the worker serves another database.
 */
extern void spinpanel_require_worker(void);

#endif /* SPINPANEL_REQUIRE_H */
