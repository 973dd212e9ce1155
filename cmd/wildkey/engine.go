package main

import (
	"cmp"
	"context"
	"path"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// identify asks a server what it is. HELLO of Dragonfly, of KeyDB, and of Valkey with extended-redis-compatibility
// says that it is Redis; INFO tells, if it is not refused. Where there is no HELLO, INFO stands in for it.
func identify(ctx context.Context, node node) (about, error) {
	about, err := ask(ctx, node)
	if err != nil {
		return about, err
	}
	info, _ := node.InfoMap(ctx).Result()
	server := info["Server"]
	about.product = cmp.Or(about.product, "redis")
	about.version = cmp.Or(about.version, server["redis_version"])
	about.mode = cmp.Or(about.mode, server["redis_mode"], server["server_mode"])
	about.role = cmp.Or(about.role, info["Replication"]["role"])
	switch {
	case info["KeyDB"] != nil || path.Base(server["executable"]) == "keydb-server":
		about.product = "keydb"
	case server["dragonfly_version"] != "" || strings.HasPrefix(about.version, "df-"):
		about.product, about.version = "dragonfly", cmp.Or(server["dragonfly_version"], about.version)
	case server["valkey_version"] != "":
		about.product, about.version = "valkey", server["valkey_version"]
	}
	return about, nil
}

func (s *session) examineServer(ctx context.Context, home home, all *findings) {
	about, err := identify(ctx, home.node)
	if err != nil {
		all.cannot("server", err, "")
		return
	}
	seen := func(fact, name string) string { return cmp.Or(fact, "unknown "+name) }
	text := strings.Join([]string{about.product + " " + seen(about.version, "version") + " at " + home.address,
		seen(about.mode, "mode"), seen(about.role, "role")}, ", ")
	switch {
	case about.product == "keydb":
		all.add("server", problem, "use Redis or Valkey",
			"%s: KeyDB is not supported, as it may undo an UNLINK while another client scans", text)
	case about.role == "active-replica": // github.com/Snapchat/KeyDB/wiki/Active-Replication
		all.add("server", problem, "let one master alone take writes",
			"%s: two servers take writes, and one may undo half of what a script did on the other", text)
	case about.version == "" || about.role == "":
		all.unseen("server", "HELLO and INFO do not tell all of "+text,
			"give the URL of the server itself if this is a proxy; the scripts need Redis 6.2 or later, and a master to write")
	case about.product == "dragonfly": // dragonflydb.io/docs/managing-dragonfly/scripting
		all.add("server", worth,
			"try your calls first; where a script may not use undeclared keys, set Options.DeclaredKeys",
			"%s: Wildkey is not tested on Dragonfly", text)
	case !about.atLeast(6, 2):
		all.add("server", problem, "the scripts need Redis 6.2 or later: upgrade", "%s", text)
	case about.role != "master":
		all.add("server", worth, "reading commands work here; give the master's URL to write", "%s", text)
	default:
		all.add("server", fine, "", "%s", text)
	}
}

// examineLua looks for known holes of the Lua that the server has.
func (s *session) examineLua(ctx context.Context, home home, all *findings) {
	about, err := identify(ctx, home.node)
	if err != nil {
		return // examineServer has told
	}
	if holes, closed := openHoles(about.product, about.version); len(holes) > 0 {
		all.add("lua", worth, "upgrade to "+about.product+" "+closed+" or later, unless your distribution has patched it; "+
			"until then let nobody but operators load Lua scripts",
			"%s %s has known holes in its Lua: %s", about.product, about.version, strings.Join(holes, ", "))
	}
}

// examineEngine tries whether the server runs scripts at all.
func (s *session) examineEngine(ctx context.Context, home home, preloaded bool, all *findings) {
	err := s.tryMatch(ctx, home)
	if redis.HasErrorPrefix(err, "NOSCRIPT") && !preloaded {
		// Nothing can be loaded of a script that does not compile.
		if err = home.ScriptLoad(ctx, "(").Err(); !strings.Contains(text(err), "scripting engine") {
			return
		}
	}
	switch {
	case redis.HasErrorPrefix(err, "unknown command"):
		all.add("scripts", problem, "take back the rename-command of EVALSHA, or use a server that runs scripts",
			"%s has no EVALSHA: no script runs", home.address)
	case strings.Contains(text(err), "scripting engine"): // Valkey from 9.1 on, github.com/valkey-io/valkey/pull/2858
		all.add("scripts", problem, "load the server's module for Lua", "%s has no Lua: no script runs", home.address)
	case strings.Contains(text(err), "undeclared key"):
		all.add("scripts", problem, "set Options.DeclaredKeys in the clients",
			"%s refuses keys that a call does not declare", home.address)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tryMatch calls match.lua, if it is loaded, for one record.
func (s *session) tryMatch(ctx context.Context, home home) error {
	for _, script := range wildkey.Scripts() {
		if script.Name == "match" {
			index := s.layout.Index(home.shards[0])
			return home.EvalSha(ctx, script.SHA1, []string{index}, "count", "", 1, 1, 1, "=x").Err()
		}
	}
	return nil
}
