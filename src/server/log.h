// SPDX-License-Identifier: MIT
// The log: one event, one line on stderr, `time level event key=value ...`, written by one write(2) so that lines of
// several threads never mix. Only the server and the tools log; everything below returns errors.
#ifndef MIM_SERVER_LOG_H
#define MIM_SERVER_LOG_H

enum mim_log_level { MIM_LOG_INFO, MIM_LOG_WARNING, MIM_LOG_ERROR };

/** Logs one event. format: `key=value` pairs, printf-style; "" for none. */
__attribute__((format(printf, 3, 4))) void mim_log(enum mim_log_level level, const char *event, const char *format,
                                                   ...);

/** text="..." for user's or system's text: quotes, backslashes and control characters escaped, cut at the buffer's
 *  end. Returns ret_quoted. */
#define MIM_LOG_QUOTED_SIZE 1024u
const char *mim_log_quote(const char *text, char ret_quoted[MIM_LOG_QUOTED_SIZE]);

#endif
