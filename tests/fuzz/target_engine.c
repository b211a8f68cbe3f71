// SPDX-License-Identifier: MIT
// Commands against a naive ledger: whatever is sent, in whatever order, the engine answers as a few arrays do; after a
// kill it stands where it was last durable, after a clean stop where it ended, from a snapshot as from the journal; and a
// key is answered as the first time, as long as the window holds it.
// Input: six bytes a step: what, account, other account, amount, key, options.
#include "history.h"
#include "snapshot/snapshot.h"

enum { ACCOUNTS = 6, CURRENCIES = 3, KEYS = 96, WINDOW = 64, STEPS_MAX = 400 };

enum verb { OPEN, DEPOSIT, WITHDRAW, TRANSFER, CLOSE, VERBS };

static const char *const verb_names[VERBS] = {"Open", "Deposit", "Withdraw", "Transfer", "Close"};
static const char *const currency_names[CURRENCIES + 1] = {"CZK", "EUR", "usd", "C1"}; /* the last is refused */
static const int64_t amounts[] = {0, -1, 1, 2, 7, 100, INT64_MAX, INT64_MAX - 1, INT64_MAX / 2, 1000000};

struct account {
    bool exists;
    bool open;
    unsigned currency;
    int64_t balance;
    int64_t overdraft;
    mim_version_t version;
};

struct answer {
    mim_version_t version;
    mim_position_t position;
};

/** The reference: nothing but arrays; copied to remember what was durable. */
struct naive {
    struct account accounts[ACCOUNTS];
    __int128 deposited[CURRENCIES];
    __int128 withdrawn[CURRENCIES];
    int64_t count[CURRENCIES];
    mim_position_t position;
    unsigned key_count; /* ever accepted */
    uint8_t keys[KEYS]; /* the last WINDOW of them matter: key_order[n % WINDOW] */
    uint8_t key_order[WINDOW];
    struct answer answers[WINDOW];
};

static struct naive now;
static struct naive durable;
static bool have_snapshot;
static struct fuzz_life life;

struct step {
    enum verb verb;
    unsigned account;
    unsigned other;
    int64_t amount;
    unsigned currency;
    unsigned key; /* 0: none */
    bool has_expected;
    uint64_t expected;
    bool json;
};

/** What the naive ledger says: NULL is accepted, else the beginning of the error. Amounts and texts are checked. */
static const char *judge_fields(const struct step *s) {
    if (s->verb == OPEN) {
        return s->currency == CURRENCIES || s->amount < 0 ? "BADARG" : NULL;
    }
    return s->verb != CLOSE && s->amount < 1 ? "BADARG" : NULL;
}

static const char *judge_transfer(const struct step *s) {
    const struct account *a = &now.accounts[s->account];
    const struct account *b = &now.accounts[s->other];
    if (!a->exists || !b->exists) {
        return "NO_ACCOUNT";
    }
    if (!a->open || !b->open) {
        return "ACCOUNT_CLOSED";
    }
    if (a == b) {
        return "SAME_ACCOUNT";
    }
    if (a->currency != b->currency) {
        return "CURRENCY_MISMATCH";
    }
    if ((__int128)a->balance - s->amount < -(__int128)a->overdraft) {
        return "INSUFFICIENT_FUNDS";
    }
    return (__int128)b->balance + s->amount > INT64_MAX ? "OVERFLOW" : NULL;
}

static const char *judge_state(const struct step *s) {
    const struct account *a = &now.accounts[s->account];
    if (s->verb == OPEN) {
        return a->exists ? "ACCOUNT_EXISTS" : NULL;
    }
    if (s->verb == TRANSFER) {
        return judge_transfer(s);
    }
    if (!a->exists) {
        return "NO_ACCOUNT";
    }
    if (!a->open) {
        return "ACCOUNT_CLOSED";
    }
    if (s->verb == CLOSE) {
        return a->balance != 0 ? "BALANCE_NOT_ZERO" : NULL;
    }
    if (s->verb == DEPOSIT) {
        return (__int128)a->balance + s->amount > INT64_MAX || now.deposited[a->currency] + s->amount > INT64_MAX
                   ? "OVERFLOW"
                   : NULL;
    }
    return (__int128)a->balance - s->amount < -(__int128)a->overdraft ||
                   now.withdrawn[a->currency] + s->amount > INT64_MAX
               ? "INSUFFICIENT_FUNDS"
               : NULL;
}

static void naive_apply(const struct step *s) {
    struct account *a = &now.accounts[s->account];
    struct account *b = &now.accounts[s->other];
    a->version++;
    now.position++;
    switch (s->verb) {
    case OPEN:
        *a = (struct account){.exists = true, .open = true, .currency = s->currency, .version = a->version};
        a->overdraft = s->amount;
        now.count[s->currency]++;
        break;
    case DEPOSIT:
        a->balance += s->amount;
        now.deposited[a->currency] += s->amount;
        break;
    case WITHDRAW:
        a->balance -= s->amount;
        now.withdrawn[a->currency] += s->amount;
        break;
    case TRANSFER:
        a->balance -= s->amount;
        b->balance += s->amount;
        b->version++;
        now.position++;
        break;
    default:
        a->open = false;
        break;
    }
}

/** The remembered answer of a key, NULL when the window does not hold it. */
static const struct answer *naive_key(unsigned key) {
    for (unsigned i = 0; i < WINDOW && i < now.key_count; i++) {
        if (now.key_order[i] == key) {
            return &now.answers[i];
        }
    }
    return NULL;
}

static void naive_remember(unsigned key) {
    unsigned at = now.key_count++ % WINDOW;
    now.key_order[at] = (uint8_t)key;
    now.answers[at] = (struct answer){.position = now.position};
}

static void account_id(unsigned n, char ret_id[16]) {
    (void)snprintf(ret_id, 16, n % 2 == 0 ? "a-%u" : "\xc3\xa9/%u", n);
}

/** The request as field and value pairs; texts live in `room`. */
static size_t arguments_of(const struct step *s, struct mim_argument arguments[4], char room[2][32]) {
    size_t count = 0;
    (void)snprintf(room[0], 32, "%lld", (long long)s->amount);
    struct mim_slice amount = mim_slice_text(room[0]);
    if (s->verb == OPEN) {
        arguments[count++] = (struct mim_argument){mim_slice_text("owner"), mim_slice_text("somebody")};
        arguments[count++] =
            (struct mim_argument){mim_slice_text("currency"), mim_slice_text(currency_names[s->currency])};
        arguments[count++] = (struct mim_argument){mim_slice_text("overdraft"), amount};
    } else if (s->verb != CLOSE) {
        arguments[count++] = (struct mim_argument){mim_slice_text("amount"), amount};
    }
    if (s->verb == TRANSFER) {
        account_id(s->other, room[1]);
        arguments[count++] = (struct mim_argument){mim_slice_text("to"), mim_slice_text(room[1])};
    }
    return count;
}

/** The same as JSON. */
static void json_of(const struct mim_argument *arguments, size_t count, struct mim_buffer *out) {
    struct mim_json j = mim_json_to(out);
    out->size = 0;
    mim_json_object(&j);
    for (size_t i = 0; i < count; i++) {
        struct mim_slice name = arguments[i].name;
        struct mim_slice value = arguments[i].value;
        mim_json_key_string(&j, (struct mim_string){(const char *)name.data, name.size});
        if (mim_slice_equal(name, mim_slice_text("amount")) || mim_slice_equal(name, mim_slice_text("overdraft"))) {
            mim_json_raw(&j, value);
        } else {
            mim_json_string(&j, (struct mim_string){(const char *)value.data, value.size});
        }
    }
    mim_json_object_end(&j);
}

static void send(const struct step *s, struct mim_outcome *ret_outcome) {
    static struct mim_buffer json;
    struct mim_argument arguments[4];
    char room[2][32];
    char id[16];
    char key[16];
    account_id(s->account, id);
    (void)snprintf(key, sizeof(key), "key-%u", s->key);
    size_t count = arguments_of(s, arguments, room);
    struct mim_request request = {.type = mim_slice_text("account"),
                                  .id = mim_slice_text(id),
                                  .command = mim_slice_text(verb_names[s->verb]),
                                  .arguments = arguments,
                                  .argument_count = count,
                                  .has_expected = s->has_expected,
                                  .expected_version = s->expected,
                                  .wall_ms = 1700000000000};
    if (s->json) {
        json_of(arguments, count, &json);
        request.json = mim_slice_of(json.data, json.size);
    }
    if (s->key != 0) {
        request.key = mim_slice_text(key);
    }
    mim_engine_execute(life.engine, &life.appender, &request, ret_outcome);
    while (ret_outcome->kind == MIM_OUTCOME_AGAIN) {
        fuzz_drain(&life);
        durable = now;
        mim_engine_execute(life.engine, &life.appender, &request, ret_outcome);
    }
}

static void check_refusal(const struct step *s, const struct mim_outcome *outcome) {
    const char *fields = judge_fields(s);
    if (fields != NULL) {
        FUZZ_REQUIRE(outcome->kind == MIM_OUTCOME_BADARG);
        return;
    }
    if (s->has_expected && s->expected != now.accounts[s->account].version) {
        FUZZ_REQUIRE(outcome->kind == MIM_OUTCOME_CONFLICT);
        return;
    }
    const char *code = judge_state(s);
    if (code == NULL) {
        FUZZ_REQUIRE(outcome->kind == MIM_OUTCOME_DONE && !outcome->repeated);
        naive_apply(s);
        FUZZ_REQUIRE(outcome->version == now.accounts[s->account].version);
        FUZZ_REQUIRE(outcome->position == now.position);
        if (s->key != 0) {
            naive_remember(s->key);
            now.answers[(now.key_count - 1) % WINDOW].version = outcome->version;
        }
        return;
    }
    FUZZ_REQUIRE(outcome->kind == MIM_OUTCOME_REJECTED);
    FUZZ_REQUIRE(strncmp(outcome->text, code, strlen(code)) == 0 && outcome->text[strlen(code)] == ' ');
}

static void command(const struct step *s) {
    struct mim_outcome outcome = {0};
    const struct answer *known = s->key == 0 ? NULL : naive_key(s->key);
    send(s, &outcome);
    if (known != NULL) {
        FUZZ_REQUIRE(outcome.kind == MIM_OUTCOME_DONE && outcome.repeated);
        FUZZ_REQUIRE(outcome.version == known->version && outcome.position == known->position);
        return;
    }
    check_refusal(s, &outcome);
}

/** Every account and the totals, as they are shown. */
static void check_state(void) {
    static struct mim_buffer out;
    char wanted[200];
    struct mim_error error = {0};
    struct mim_engine_point point;
    mim_engine_point(life.engine, &point);
    FUZZ_REQUIRE(point.position == now.position);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        const struct account *a = &now.accounts[i];
        char id[16];
        mim_version_t version = 0;
        account_id(i, id);
        out.size = 0;
        int rc = mim_engine_get(life.engine, &life.appender, mim_slice_text("account"), mim_slice_text(id), &out,
                                &version, NULL, &error);
        FUZZ_REQUIRE(rc == (a->exists ? 0 : MIM_E_NOT_FOUND));
        if (rc == 0) {
            (void)snprintf(
                wanted, sizeof(wanted),
                "{\"owner\":\"somebody\",\"currency\":\"%s\",\"balance\":%lld,\"overdraft\":%lld,\"open\":%s}",
                currency_names[a->currency], (long long)a->balance, (long long)a->overdraft,
                a->open ? "true" : "false");
            FUZZ_REQUIRE(version == a->version);
            FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(out.data, out.size), mim_slice_text(wanted)));
        }
    }
    out.size = 0;
    FUZZ_REQUIRE(mim_engine_query(life.engine, &life.appender, mim_slice_text("account"), mim_slice_text("Totals"),
                                  NULL, 0, &out, NULL, &error) == 0);
    mim_buffer_append(&out, "", 1);
    for (unsigned c = 0; c < CURRENCIES; c++) {
        (void)snprintf(wanted, sizeof(wanted), "\"%s\":{\"accounts\":%lld,", currency_names[c],
                       (long long)now.count[c]);
        FUZZ_REQUIRE((strstr((const char *)out.data, wanted) != NULL) == (now.count[c] > 0));
    }
}

static void start(bool from_snapshot) {
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_restore_options restore = {.verify = MIM_VERIFY_EAGER,
                                          .threads = 1,
                                          .position_max = from_snapshot ? UINT64_MAX : 0,
                                          .lsn_max = from_snapshot ? UINT64_MAX : 0};
    struct mim_restored restored;
    struct mim_recovery recovery;
    struct mim_error error = {0};
    int rc = mim_snapshot_recover(life.storage, &options, &restore, NULL, &life.engine, &restored, &recovery, &error);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s\n", mim_error_name(rc), error.text);
    }
    FUZZ_REQUIRE(rc == 0);
    FUZZ_REQUIRE(restored.found == (from_snapshot && have_snapshot));
    FUZZ_REQUIRE(fuzz_begin(&life, &recovery, &error) == 0);
    check_state();
}

/** A snapshot of an engine of its own, read from the journal, as the server makes them. */
static void snapshot(void) {
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_recovery_options recovery_options = {0};
    struct mim_engine *engine = NULL;
    struct mim_recovery recovery;
    struct mim_snapshot_header header;
    uint64_t written;
    struct mim_error error = {0};
    fuzz_drain(&life);
    durable = now;
    FUZZ_REQUIRE(mim_engine_new(&options, &engine, &error) == 0);
    FUZZ_REQUIRE(mim_recovery_run(life.storage, engine, &recovery_options, &recovery, &error) == 0);
    mim_recovery_deinit(&recovery);
    FUZZ_REQUIRE(mim_engine_digest(engine) == mim_engine_digest(life.engine));
    FUZZ_REQUIRE(mim_storage_make_dir(life.storage, MIM_SNAPSHOT_DIR, &error) == 0);
    FUZZ_REQUIRE(mim_snapshot_write(life.storage, engine, NULL, 1000, NULL, NULL, &header, &written, &error) == 0);
    FUZZ_REQUIRE(mim_snapshots_prune(life.storage, 2, &error) == 0);
    (void)mim_engine_free(engine);
    have_snapshot = true;
}

static void restart(struct mim_storage_sim *sim, bool clean, bool from_snapshot) {
    fuzz_end(&life, clean);
    mim_storage_sim_kill(sim);
    now = clean ? now : durable;
    start(from_snapshot);
    durable = now;
}

static void run_step(struct mim_storage_sim *sim, struct fuzz_input *in) {
    uint8_t what = fuzz_u8(in);
    uint8_t account = fuzz_u8(in);
    uint8_t other = fuzz_u8(in);
    uint8_t amount = fuzz_u8(in);
    uint8_t key = fuzz_u8(in);
    uint8_t options = fuzz_u8(in);
    struct step step = {
        .verb = (enum verb)(what % VERBS),
        .account = account % ACCOUNTS,
        .other = other % ACCOUNTS,
        .amount = amounts[amount % MIM_COUNT_OF(amounts)],
        .currency = other % (CURRENCIES + 1),
        .key = (options & 1) != 0 ? 1 + key % (KEYS - 1) : 0,
        .has_expected = (options & 6) == 6,
        .expected = options >> 4,
        .json = (options & 8) != 0,
    };
    switch (what) {
    case 255:
        restart(sim, true, (options & 1) != 0);
        break;
    case 254:
        restart(sim, false, (options & 1) != 0);
        break;
    case 253:
        snapshot();
        break;
    case 252:
        check_state();
        break;
    case 251:
        fuzz_drain(&life);
        durable = now;
        break;
    default:
        command(&step);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    memset(&now, 0, sizeof(now));
    memset(&durable, 0, sizeof(durable));
    have_snapshot = false;
    fuzz_segment_size =
        size / 6 % 2 == 0 ? 8192 : 65536; /* in small ones nearly every command has to wait for the next */
    life = (struct fuzz_life){.storage = mim_storage_sim_storage(sim)};
    start(true);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in) > 0; i++) {
        run_step(sim, &in);
    }
    restart(sim, true, true);
    uint64_t digest = mim_engine_digest(life.engine);
    restart(sim, true, false);
    FUZZ_REQUIRE(mim_engine_digest(life.engine) == digest);
    fuzz_end(&life, true);
    (void)mim_storage_sim_free(sim);
    return 0;
}
