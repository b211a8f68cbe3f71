// SPDX-License-Identifier: MIT
// The Lua that Redis runs. A call first looks whether the stream is the publisher's and ends where it believes; if not,
// it adds nothing and says so. A script is atomic in Redis, and in its append-only file.
#include <string.h>

#include "publish/internal.h"

/* KEYS: stream, about. ARGV: history, last id, MAXLEN, then per event: position, type, subject, version, audience (may
 * be empty), and where they are wanted the JSON. */
static const char *const head =
    "local call=redis.call\n"
    "local last='0-0'\n"
    "local info=redis.pcall('XINFO','STREAM',KEYS[1])\n"
    "if info.err then\n"
    " if not string.find(info.err,'no such key',1,true) then return info end\n"
    "else\n"
    " for i=1,#info,2 do if info[i]=='last-generated-id' then last=info[i+1] end end\n"
    "end\n"
    "local owner=call('HGET',KEYS[2],'history')\n"
    "if owner~=ARGV[1] then\n"
    " return redis.error_reply('GUARD the stream is owned by '..(owner or 'nobody'))\n"
    "end\n"
    "if last~=ARGV[2] then\n"
    " return redis.error_reply('GUARD the stream ends with '..last..', '..ARGV[2]..' was awaited')\n"
    "end\n"
    "local key,args=KEYS[1],ARGV\n";

/* Locals and few strings made in Lua: a quarter of the time of an entry goes there. XADD takes "7" for "7-0". */
static const char *const add = "'XADD',key,p,'id',p,'type',t,'subject',s,'position',p,'version',v";

static const char *const tail = "end\n"
                                "if ARGV[3]~='0' then call('XTRIM',key,'MAXLEN','~',ARGV[3]) end\n"
                                "return 1\n";

void mim_publish_script_entries(const struct mim_publish_options *options, struct mim_buffer *out) {
    const char *json = options->fat ? ",'event',j" : "";
    mim_buffer_text(out, head);
    mim_buffer_text(
        out, mim_publish_stride(options) == 6
                 ? "for i=4,#args,6 do\n local p,t,s,v,a,j=args[i],args[i+1],args[i+2],args[i+3],args[i+4],args[i+5]\n"
                 : "for i=4,#args,5 do\n local p,t,s,v,a=args[i],args[i+1],args[i+2],args[i+3],args[i+4]\n");
    mim_buffer_text(out, " if a=='' then call(");
    mim_buffer_text(out, add);
    mim_buffer_text(out, json);
    mim_buffer_text(out, ")\n else call(");
    mim_buffer_text(out, add);
    mim_buffer_text(out, ",'audience',a");
    mim_buffer_text(out, json);
    mim_buffer_text(out, ") end\n");
    if (options->channels) {
        mim_buffer_text(out, " call('PUBLISH','" MIM_PUBLISH_CHANNEL "'..string.match(s,'^[^/]+'),j)\n");
    }
    if (options->audiences) {
        mim_buffer_text(out,
                        " for e in string.gmatch(a,'[^,]+') do call('PUBLISH','" MIM_PUBLISH_AUDIENCE "'..e,j) end\n");
    }
    mim_buffer_text(out, tail);
}

/* KEYS: about, versions, then one per aggregate. ARGV: history, complete up to, then per aggregate: version, JSON. A
 * version that is there already is written again only when its key is gone. */
static const char *const states = "local call=redis.call\n"
                                  "local owner=call('HGET',KEYS[1],'history')\n"
                                  "if owner~=ARGV[1] then\n"
                                  " return redis.error_reply('GUARD the stream is owned by '..(owner or 'nobody'))\n"
                                  "end\n"
                                  "for i=3,#KEYS do\n"
                                  " local v=tonumber(ARGV[2*i-3])\n"
                                  " local have=tonumber(call('HGET',KEYS[2],KEYS[i]) or '0')\n"
                                  " if v>have or (v==have and call('EXISTS',KEYS[i])==0) then\n"
                                  "  call('SET',KEYS[i],ARGV[2*i-2])\n"
                                  "  call('HSET',KEYS[2],KEYS[i],ARGV[2*i-3])\n"
                                  " end\n"
                                  "end\n"
                                  "if tonumber(ARGV[2])>tonumber(call('HGET',KEYS[1],'states') or '0') then "
                                  "call('HSET',KEYS[1],'states',ARGV[2]) end\n"
                                  "return 1\n";

void mim_publish_script_states(struct mim_buffer *out) { mim_buffer_text(out, states); }
