package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

func newStore(t *testing.T) Store {
	t.Helper()
	cache, err := wildkey.New(luatest.New().Client(), wildkey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Store{cache}
}

// sessionData returns data as scs commits it; for a visitor the user is empty.
func sessionData(t *testing.T, user, color string) []byte {
	t.Helper()
	values := map[string]any{"color": color}
	if user != "" {
		values[userField] = user
	}
	data, err := scs.GobCodec{}.Encode(time.Unix(0, 0), values)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func commit(t *testing.T, s Store, token string, data []byte) {
	t.Helper()
	if err := s.Commit(token, data, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

func wantFound(t *testing.T, s Store, token string, want []byte) {
	t.Helper()
	data, found, err := s.Find(token)
	if err != nil || found != (want != nil) || string(data) != string(want) {
		t.Errorf("Find(%q) = %q, %v, %v, want %q", token, data, found, err, want)
	}
}

// For each kind of session, what scs expects of a store.
func TestStore(t *testing.T) {
	for _, user := range []string{"", "ann", "ann:session:*"} {
		t.Run(user, func(t *testing.T) {
			s, red, blue := newStore(t), sessionData(t, user, "red"), sessionData(t, user, "blue")
			for _, token := range []string{"a", "", strings.Repeat("%", 5000)} {
				wantFound(t, s, token, nil)
			}
			commit(t, s, "a", red)
			commit(t, s, "b", red)
			wantFound(t, s, "a", red)
			commit(t, s, "a", blue)
			wantFound(t, s, "a", blue)

			all, err := s.AllCtx(context.Background())
			if diff := cmp.Diff(map[string][]byte{"a": blue, "b": red}, all); err != nil || diff != "" {
				t.Errorf("AllCtx: %v %s", err, diff)
			}
			for range 2 {
				if err := s.Delete("a"); err != nil {
					t.Error(err)
				}
			}
			wantFound(t, s, "a", nil)
			wantFound(t, s, "b", red)

			if err := s.Commit("b", red, time.Now().Add(-time.Second)); err != nil {
				t.Error(err)
			}
			wantFound(t, s, "b", nil)
			if all, err := s.AllCtx(context.Background()); all == nil || len(all) > 0 || err != nil {
				t.Errorf("AllCtx = %v, %v, want an empty map", all, err)
			}
		})
	}
}

func TestBothRecordsExpireTogether(t *testing.T) {
	s, ctx := newStore(t), context.Background()
	commit(t, s, "a", sessionData(t, "ann", "red"))
	if err := s.Commit("a", sessionData(t, "ann", "red"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	token, err := s.cache.TTL(ctx, wildkey.K("token", "a"))
	if err != nil || token > time.Minute {
		t.Errorf("the token has %v, %v left", token, err)
	}
	data, err := s.cache.TTL(ctx, wildkey.K("user", "ann", "session", "a"))
	if err != nil || data != token {
		t.Errorf("the data has %v, %v left, the token %v", data, err, token)
	}
}

func TestSessionsOfAUser(t *testing.T) {
	s, ctx, data := newStore(t), context.Background(), sessionData(t, "ann", "red")
	commit(t, s, "a", data)
	commit(t, s, "b", data)
	commit(t, s, "c", data)
	other := sessionData(t, "anna", "red")
	commit(t, s, "d", other)

	if err := s.LogOut(ctx, "ann", "d"); err != nil { // not hers
		t.Error(err)
	}
	if err := s.LogOut(ctx, "ann", "c"); err != nil {
		t.Error(err)
	}
	sessions, err := s.OfUser(ctx, "ann")
	if diff := cmp.Diff(map[string][]byte{"a": data, "b": data}, sessions); err != nil || diff != "" {
		t.Errorf("OfUser: %v %s", err, diff)
	}
	if err := s.LogOutEverywhere(ctx, "ann"); err != nil {
		t.Error(err)
	}
	for _, token := range []string{"a", "b", "c"} {
		wantFound(t, s, token, nil)
	}
	wantFound(t, s, "d", other)
}

// One request finds a session, others change it in some way, and then the first commits.
func TestCommitAfterFind(t *testing.T) {
	for name, test := range map[string]struct {
		between func(ctx context.Context, s Store) error
		user    string // of the data that is committed
		want    error
	}{
		"nothing happens":        {func(context.Context, Store) error { return nil }, "ann", nil},
		"another was logged out": {func(ctx context.Context, s Store) error { return s.LogOut(ctx, "ann", "b") }, "ann", nil},
		"it was logged out":      {func(ctx context.Context, s Store) error { return s.LogOut(ctx, "ann", "a") }, "ann", ErrLoggedOut},
		"all were logged out":    {func(ctx context.Context, s Store) error { return s.LogOutEverywhere(ctx, "ann") }, "ann", ErrLoggedOut},
		"it was deleted":         {func(ctx context.Context, s Store) error { return s.DeleteCtx(ctx, "a") }, "ann", ErrLoggedOut},
		"it changes its user":    {func(context.Context, Store) error { return nil }, "bob", ErrLoggedOut},
	} {
		t.Run(name, func(t *testing.T) {
			s, request := newStore(t), context.WithValue(context.Background(), found{}, new(sync.Map))
			before, changed := sessionData(t, "ann", "red"), sessionData(t, test.user, "blue")
			commit(t, s, "a", before)
			commit(t, s, "b", before)
			if _, ok, err := s.FindCtx(request, "a"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if err := test.between(context.Background(), s); err != nil {
				t.Fatal(err)
			}
			if err := s.CommitCtx(request, "a", changed, time.Now().Add(time.Hour)); !errors.Is(err, test.want) {
				t.Errorf("CommitCtx: %v, want %v", err, test.want)
			}
			switch {
			case test.want == nil:
				wantFound(t, s, "a", changed)
			case test.user == "ann":
				wantFound(t, s, "a", nil)
			default:
				wantFound(t, s, "a", before)
			}
		})
	}
}
