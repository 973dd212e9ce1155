// Package admin repairs and moves the records of a Wildkey cache. Programs that
// only read and write them do not need it.
package admin

import "github.com/wildkey/wildkey"

var everything = wildkey.MustParsePattern("**")
