package main

import (
	"strings"
	"testing"
)

func TestConnectHidesThePassword(t *testing.T) {
	if _, err := connect("redis://:secret@127.0.0.1:port"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("connect: %v", err)
	}
}
