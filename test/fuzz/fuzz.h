/*
 * fuzz.h
 *
 * What the files of the fuzzer share.
 */
#ifndef SPINPANEL_FUZZ_H
#define SPINPANEL_FUZZ_H

#include "postgres.h"

/* Ends the process, so that libFuzzer keeps the input: what always holds did not. */
#define REQUIRE(holds) \
	do \
	{ \
		if (!(holds)) \
			spinpanel_fuzz_objection(CppAsString(holds), __FILE__, __LINE__); \
	} while (0)

extern void spinpanel_fuzz_objection(const char *what, const char *file, int line)
	pg_attribute_noreturn();

/* What is shown to people: bounded, on one line, and UTF-8. */
extern void spinpanel_fuzz_shown(const char *text, size_t size);

/* A credential file of the fuzzer's own. */
extern const char *spinpanel_fuzz_file(void);

#define FUZZ_SECRET "Sq7QdKfnGx2VbLr5Wm"
#define FUZZ_TOKEN "0.ATkAzzTOKEN-abcdefgh"

/*
 * Targets.  text ends with a NUL behind length, and nothing may be read behind
 * that.  The current memory context is emptied afterwards.
 */
extern void spinpanel_fuzz_headers(const char *text, size_t length);
extern void spinpanel_fuzz_error(const char *text, size_t length);
extern void spinpanel_fuzz_token(const char *text, size_t length);

#endif /* SPINPANEL_FUZZ_H */
