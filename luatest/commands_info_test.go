package luatest

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// infoFields returns the fields of INFO by their names.
func infoFields(e *Engine, sections ...string) map[string]string {
	fields := map[string]string{}
	for _, line := range strings.Split(e.Do(append([]string{"INFO"}, sections...)...).(string), "\r\n") {
		if name, value, isField := strings.Cut(line, ":"); isField {
			fields[name] = value
		}
	}
	return fields
}

func TestInfo(t *testing.T) {
	e := New()
	e.Do("SET", "k", "v", "PX", "1000")
	e.Do("SET", "l", "v", "PX", "3000")
	e.Do("SET", "m", "v")
	e.Do("SCRIPT", "LOAD", "return 1")
	e.SetReplica(true)
	e.SetCluster(true)
	e.Do("CONFIG", "SET", "maxmemory", "5mb")
	client := e.Client()
	defer client.Close()
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	got := infoFields(e)
	if used, err := strconv.Atoi(got["used_memory"]); err != nil || used <= 0 {
		t.Errorf("used_memory is %q", got["used_memory"])
	}
	delete(got, "used_memory")
	want := map[string]string{
		"redis_version": "7.0.15", "redis_mode": "cluster", "server_time_usec": "1704067200000000", "connected_clients": "1",
		"blocked_clients": "0", "number_of_cached_scripts": "1", "maxmemory": "5242880", "maxmemory_policy": "noeviction",
		"role": "slave", "connected_slaves": "0", "cluster_enabled": "1", "db0": "keys=3,expires=2,avg_ttl=2000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for section, field := range map[string]string{"server": "redis_mode", "CLIENTS": "connected_clients", "Keyspace": "db0"} {
		fields := infoFields(e, section)
		if fields[field] != want[field] || fields["role"] != "" {
			t.Errorf("INFO %s has %v", section, fields)
		}
	}
	if everything := infoFields(e, "everything"); everything["role"] == "" || everything["db0"] == "" {
		t.Errorf("INFO everything has %v", everything)
	}
}

func TestInfoOfAnEmptyEngine(t *testing.T) {
	expect(t, New(), "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n# Keyspace\r\n", "INFO", "keyspace", "replication")
}

// MEMORY USAGE is no measurement, but a value that grows uses more.
func TestMemoryUsageGrows(t *testing.T) {
	e := New()
	var last int64
	for range 5 {
		e.Do("HSET", "h", e.Now().String(), "value")
		e.Advance(time.Second)
		used := e.Do("MEMORY", "USAGE", "h", "SAMPLES", "0").(int64)
		if used <= last {
			t.Errorf("%d bytes, after %d", used, last)
		}
		last = used
	}
}
