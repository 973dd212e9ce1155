package main

import (
	"slices"
	"strconv"
	"strings"
)

// hole is a known hole in the Lua of Redis, and the versions that closed it, the
// first of each branch.
type hole struct{ name, redis, valkey string }

// luaHoles are those that the version of a server tells, by the CVE records (cve.org) and the release notes of each
// branch: github.com/redis/redis/releases, and 00-RELEASENOTES of github.com/valkey-io/valkey. A version does not tell
// CVE-2022-0543, which was in Debian's packages alone. CVE-2026-23631 needs a replica that takes writes.
var luaHoles = []hole{
	{"CVE-2022-24735", "6.2.7 7.0.0", ""},
	{"CVE-2022-24736", "6.2.7 7.0.0", ""},
	{"CVE-2022-24834", "6.2.13 7.0.12", ""},
	{"CVE-2024-31449", "6.2.16 7.2.6 7.4.1", "7.2.7 8.0.1"},
	{"CVE-2024-46981", "6.2.17 7.2.7 7.4.2", "7.2.8 8.0.2"},
	{"CVE-2025-46817", "6.2.20 7.2.11 7.4.6 8.0.4 8.2.2", "7.2.11 8.0.6 8.1.4"},
	{"CVE-2025-46818", "6.2.20 7.2.11 7.4.6 8.0.4 8.2.2", "7.2.11 8.0.6 8.1.4"},
	{"CVE-2025-46819", "6.2.20 7.2.11 7.4.6 8.0.4 8.2.2", "7.2.11 8.0.6 8.1.4"},
	{"CVE-2025-49844", "6.2.20 7.2.11 7.4.6 8.0.4 8.2.2", "7.2.11 8.0.6 8.1.4"},
	{"CVE-2025-67733", "", "7.2.12 8.0.7 8.1.6 9.0.2"},
}

// openHoles returns which of them a server of this version has, and the first version
// from it on that has none of them.
func openHoles(product, version string) (names []string, closed string) {
	own, ok := numbers(version)
	if !ok {
		return nil, ""
	}
	var upgrade []int
	for _, hole := range luaHoles {
		fixes := map[string]string{"redis": hole.redis, "valkey": hole.valkey}[product]
		for _, fix := range strings.Fields(fixes) {
			fixed, _ := numbers(fix)
			if branch := slices.Compare(fixed[:2], own[:2]); branch < 0 {
				continue
			} else if branch == 0 && slices.Compare(own, fixed) >= 0 {
				break
			}
			names = append(names, hole.name)
			if slices.Compare(fixed, upgrade) > 0 {
				upgrade, closed = fixed, fix
			}
			break
		}
	}
	return names, closed
}

// numbers returns the three of a version, and no more: what a release candidate
// has is not known.
func numbers(version string) ([]int, bool) {
	words := strings.Split(version, ".")
	if len(words) != 3 {
		return nil, false
	}
	var numbers []int
	for _, word := range words {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}
