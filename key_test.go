package wildkey_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
)

type userID int64

type role string

type level int

func (l level) String() string { return fmt.Sprintf("level-%d", int(l)) }

type broken struct{}

func (broken) MarshalText() ([]byte, error) { return []byte("half"), errors.New("broken") }

func TestK(t *testing.T) {
	var noAddress *netip.Addr
	for _, row := range []struct {
		part any
		want string
	}{
		{"abc", "abc"}, {[]byte("a:b"), "a:b"}, {42, "42"}, {int8(-3), "-3"}, {uint64(1<<64 - 1), "18446744073709551615"},
		{true, "true"}, {false, "false"}, {userID(7), "7"}, {role("admin"), "admin"}, {level(3), "level-3"},
		{netip.MustParseAddr("::1"), "::1"}, {time.Unix(0, 0).UTC(), "1970-01-01T00:00:00Z"}, {5 * time.Second, "5s"},
		{int32(7), ""}, {'x', ""}, {"x"[0], ""}, {wildkey.K("a"), ""}, {wildkey.K("a", "b"), ""}, {float32(7), ""}, {nil, ""}, {noAddress, ""}, {1.5, ""}, {struct{}{}, ""}, {broken{}, ""}, {[]string{"a"}, ""}, {"", ""},
	} {
		if got := wildkey.K(row.part); len(got) != 1 || got[0] != row.want {
			t.Errorf("K(%T %v) is %q, want %q", row.part, row.part, got, row.want)
		}
	}
}

// TestChild leaves the key as it is, even if there is room behind it.
func TestChild(t *testing.T) {
	parent := append(make(wildkey.Key, 0, 10), "user", "42")
	session, name := parent.Child("session", 7), parent.Child("name")
	for _, row := range []struct{ got, want string }{
		{session.String(), "user:42:session:7"}, {name.String(), "user:42:name"}, {parent.String(), "user:42"},
		{parent.Child().String(), "user:42"}, {parent.Child(nil).String(), "user:42:"},
	} {
		if row.got != row.want {
			t.Errorf("%s, want %s", row.got, row.want)
		}
	}
}

func TestKeyEncoding(t *testing.T) {
	for _, row := range []struct {
		key  wildkey.Key
		want string
	}{
		{wildkey.K("user", 42, "session", "abc"), "user:42:session:abc"},
		{wildkey.K("a:b"), "a%3Ab"},
		{wildkey.K("a", "b"), "a:b"},
		{wildkey.K("AZaz09-._~"), "AZaz09-._~"},
		{wildkey.K("*{}/# +%"), "%2A%7B%7D%2F%23%20%2B%25"},
		{wildkey.K("\x00\xff", "é"), "%00%FF:%C3%A9"},
		{wildkey.K(strings.Repeat("a", 4096)), strings.Repeat("a", 4096)},
	} {
		if got := row.key.String(); got != row.want {
			t.Errorf("%q is encoded %q, want %q", []string(row.key), got, row.want)
		}
		back, err := wildkey.ParseKey(row.want)
		if diff := cmp.Diff(row.key, back); diff != "" || err != nil {
			t.Errorf("ParseKey(%q): %v (-want +got)\n%s", row.want, err, diff)
		}
	}
	for _, text := range []string{
		"", ":", "a:", ":a", "a::b", "%", "%4", "%4g", "%41", "%2d", "%7E", "%c3%A9", "a b", "a*", "a/b", "{a}", "a#", "é", "a\x00", "a+b",
		strings.Repeat("a", 4097), strings.Repeat("a:", 2048) + "a",
	} {
		if key, err := wildkey.ParseKey(text); !errors.Is(err, wildkey.ErrInvalidKey) || key != nil {
			t.Errorf("ParseKey(%.50q): %q, %v", text, []string(key), err)
		}
	}
}

// FuzzKey expects that every list of segments comes back from its encoding,
// and that no other text is read as that key.
func FuzzKey(f *testing.F) {
	f.Add("user", "42", "user:42")
	f.Add("a:b", "%", "a%3Ab:%25")
	f.Add("\x00\xff", "é", "%c3%a9")
	f.Fuzz(func(t *testing.T, first, second, text string) {
		key := wildkey.Key{first, second}
		back, err := wildkey.ParseKey(key.String())
		valid := first != "" && second != "" && len(key.String()) <= 4096
		if valid != (err == nil) {
			t.Errorf("ParseKey(%q): %v", key.String(), err)
		}
		if diff := cmp.Diff(key, back); valid && diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if other, err := wildkey.ParseKey(text); err == nil && other.String() != text {
			t.Errorf("%q is read as %q, whose spelling is %q", text, []string(other), other.String())
		}
	})
}
