// SPDX-License-Identifier: MIT
// The server's side of publication (src/publish): it lends loop, engine and journal, grants slices, logs, and tells INFO.
#include "server/internal.h"

typedef unsigned long long ull;

static void on_news(void *context, const struct mim_publish_news *news) {
    (void)context;
    char quoted[MIM_LOG_QUOTED_SIZE];
    mim_log(news->warning ? MIM_LOG_WARNING : MIM_LOG_INFO, news->event, "target=%s stream=%s position=%llu%s%s",
            news->target, news->stream, (ull)news->position, news->reason == NULL ? "" : " goes_on=yes text=",
            news->reason == NULL ? "" : mim_log_quote(news->reason, quoted));
}

int mim_publishing_open(struct mim_server *server, struct mim_error *reterr) {
    if (server->options.publish.url == NULL) {
        return 0;
    }
    const struct mim_publish_source source = {
        .base = server->base,
        .engine = server->engine,
        .appender = &server->appender,
        .storage = server->storage,
        .clock = server->clock,
        .news = on_news,
        .context = server,
    };
    return mim_publisher_new(&server->options.publish, &source, &server->publisher, reterr);
}

void mim_publishing_start(struct mim_server *server) {
    struct mim_error error = {0};
    if (!mim_reign_settled(&server->replication.reign, &server->appender)) {
        return; /* started when standbys have confirmed what Redis may have already */
    }
    if (server->publisher == NULL && mim_publishing_open(server, &error) != 0) {
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_log(MIM_LOG_ERROR, "publish_failed", "text=%s goes_on=yes", mim_log_quote(error.text, quoted));
    }
    if (server->publisher != NULL) {
        mim_publisher_start(server->publisher);
    }
}

void mim_publishing_stop(struct mim_server *server) { server->publisher = mim_publisher_free(server->publisher); }

void mim_publishing_turn(struct mim_server *server) {
    const struct mim_publish_gate gate = {
        .position = mim_replication_shown(server),
        .lsn = mim_appender_shown(&server->appender),
        .segment_lsn = server->appender.segment_base_lsn,
    };
    mim_publisher_turn(server->publisher, &gate);
}

void mim_publishing_info(struct mim_server *server, struct mim_buffer *out) {
    if (server->publisher == NULL) {
        mim_info_line(out, "publish_state:off");
        return;
    }
    struct mim_publish_info info;
    mim_publisher_info(server->publisher, &info);
    mim_info_line(out, "publish_state:%s", info.state);
    mim_info_line(out, "publish_reason:%s", info.reason);
    mim_info_line(out, "publish_last_error:%s", info.last_error);
    mim_info_line(out, "publish_target:%s", info.target);
    mim_info_line(out, "publish_stream:%s", info.stream);
    mim_info_line(out, "publish_position:%llu", (ull)info.position);
    mim_info_line(out, "publish_lag_events:%llu", (ull)info.lag);
    mim_info_line(out, "publish_last_id:%llu-0", (ull)info.last_id);
    mim_info_line(out, "publish_events:%llu", (ull)info.events);
    mim_info_line(out, "publish_unanswered_calls:%u", info.unanswered);
    mim_info_line(out, "publish_unanswered_bytes:%llu", (ull)info.unanswered_bytes);
    mim_info_line(out, "publish_connections:%llu", (ull)info.connections);
    mim_info_line(out, "publish_reconnects:%llu", (ull)(info.connections > 0 ? info.connections - 1 : 0));
    mim_info_line(out, "publish_failures:%llu", (ull)info.failures);
    mim_info_line(out, "publish_refusals:%llu", (ull)info.refusals);
    mim_info_line(out, "publish_gaps:%llu", (ull)info.gaps);
    mim_info_line(out, "publish_retry_ms:%llu", (ull)info.retry_ms);
    if (server->options.publish.states) {
        mim_info_line(out, "publish_state_position:%llu", (ull)info.states);
        mim_info_line(out, "publish_states_written:%llu", (ull)info.states_written);
    }
}
