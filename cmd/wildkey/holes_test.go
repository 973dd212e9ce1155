package main

import (
	"strings"
	"testing"
)

func TestOpenHoles(t *testing.T) {
	for _, test := range []struct{ product, version, first, last, closed string }{
		{"redis", "6.0.16", "CVE-2022-24735", "CVE-2025-49844", "6.2.20"},
		{"redis", "6.2.6", "CVE-2022-24735", "CVE-2025-49844", "6.2.20"},
		{"redis", "6.2.7", "CVE-2022-24834", "CVE-2025-49844", "6.2.20"},
		{"redis", "6.2.20", "", "", ""},
		{"redis", "7.0.11", "CVE-2022-24834", "CVE-2025-49844", "7.2.11"},
		{"redis", "7.0.15", "CVE-2024-31449", "CVE-2025-49844", "7.2.11"}, // nothing after it was closed on this branch
		{"redis", "7.2.6", "CVE-2024-46981", "CVE-2025-49844", "7.2.11"},
		{"redis", "7.4.1", "CVE-2024-46981", "CVE-2025-49844", "7.4.6"},
		{"redis", "7.4.6", "", "", ""},
		{"redis", "8.0.2", "CVE-2025-46817", "CVE-2025-49844", "8.0.4"},
		{"redis", "8.2.2", "", "", ""},
		{"redis", "8.6.0", "", "", ""},
		{"valkey", "7.2.5", "CVE-2024-31449", "CVE-2025-67733", "7.2.12"},
		{"valkey", "8.0.1", "CVE-2024-46981", "CVE-2025-67733", "8.0.7"},
		{"valkey", "8.1.4", "CVE-2025-67733", "CVE-2025-67733", "8.1.6"},
		{"valkey", "9.0.0", "CVE-2025-67733", "CVE-2025-67733", "9.0.2"},
		{"valkey", "9.0.2", "", "", ""},
		{"valkey", "9.1.0", "", "", ""},
		{"redis", "9.1.0-rc2", "", "", ""},
		{"redis", "", "", "", ""},
		{"redis", "7", "", "", ""},
		{"dragonfly", "df-v1.40.1", "", "", ""},
	} {
		names, closed := openHoles(test.product, test.version)
		got := strings.Join(names, " ")
		if !strings.HasPrefix(got, test.first) || !strings.HasSuffix(got, test.last) || (got == "") != (test.last == "") ||
			closed != test.closed {
			t.Errorf("%s %s: %q, closed in %q; want from %q to %q, closed in %q",
				test.product, test.version, got, closed, test.first, test.last, test.closed)
		}
	}
}
