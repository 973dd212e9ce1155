package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/wildkey/wildkey"
)

// Store keeps the sessions of an scs.SessionManager. A session is two records, put by one
// call and with the same time to live:
//
//	token:TOKEN              holds the key of the other record
//	user:USER:session:TOKEN  holds the data; visitor:TOKEN if nobody has signed in
//
// A session lives only while both records do. So a pattern that deletes user:USER:session:*
// logs the user out everywhere, and an evicted record can end a session but never hide one
// from that pattern. A token record without data finds nothing, and expires.
type Store struct{ cache *wildkey.Cache }

var (
	_ scs.CtxStore         = Store{}
	_ scs.IterableCtxStore = Store{}
)

// userField is the session's value that names the user.
const userField = "user"

// ErrLoggedOut says that a session ended while a request used it.
var ErrLoggedOut = errors.New("the session has been logged out")

// found is the key of a context, for the tokens that the request has found.
type found struct{}

// LoadAndSave is the manager's, and also guards against a session that comes back. scs
// stores a session at the end of a request, and may have read it before another request
// logged it out. With this handler Commit stores what the request has found only if it is
// still there.
func (s Store) LoadAndSave(manager *scs.SessionManager, next http.Handler) http.Handler {
	next = manager.LoadAndSave(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), found{}, new(sync.Map))))
	})
}

func (s Store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	key, err := s.dataKey(ctx, token)
	if err != nil || key == nil {
		return nil, false, err
	}
	data, err := s.cache.Get(ctx, key)
	if errors.Is(err, wildkey.ErrNotFound) {
		return nil, false, nil
	}
	if tokens, ok := ctx.Value(found{}).(*sync.Map); ok && err == nil {
		tokens.Store(token, true)
	}
	return data, err == nil, err
}

// CommitCtx returns ErrLoggedOut if the session has ended since the request found it. The
// same happens to a session that changes its user: it needs RenewToken, or an attacker who
// knows the visitor's token would be signed in too.
func (s Store) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	ttl := time.Until(expiry)
	if ttl < time.Millisecond {
		return s.DeleteCtx(ctx, token)
	}
	_, values, err := scs.GobCodec{}.Decode(data)
	if err != nil {
		return err
	}
	session := wildkey.Record{Key: wildkey.K("visitor", token), Value: data, TTL: ttl}
	if user, ok := values[userField]; ok {
		session.Key = wildkey.K("user", user, "session", token)
	}
	if tokens, ok := ctx.Value(found{}).(*sync.Map); ok {
		if _, ok := tokens.Load(token); ok {
			session.If = wildkey.Present()
		}
	}
	pointer := wildkey.Record{Key: wildkey.K("token", token), Value: []byte(session.Key.String()), TTL: ttl}
	err = s.cache.Put(ctx, pointer, session)
	if errors.Is(err, wildkey.ErrCondition) {
		return ErrLoggedOut
	}
	return err
}

func (s Store) DeleteCtx(ctx context.Context, token string) error {
	key, err := s.dataKey(ctx, token)
	if err != nil || key == nil {
		return err
	}
	_, err = s.cache.Delete(ctx, wildkey.K("token", token), key)
	return err
}

// dataKey returns the key of the session's data, or nil if there is no such token.
func (s Store) dataKey(ctx context.Context, token string) (wildkey.Key, error) {
	text, err := s.cache.Get(ctx, wildkey.K("token", token))
	if errors.Is(err, wildkey.ErrNotFound) || errors.Is(err, wildkey.ErrInvalidKey) {
		return nil, nil // the token came from a cookie, and may be anything
	}
	if err != nil {
		return nil, err
	}
	return wildkey.ParseKey(string(text))
}

func (s Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	return s.match(ctx, wildkey.MustParsePattern("user:*:session:*"), wildkey.MustParsePattern("visitor:*"))
}

// OfUser returns the data of all sessions of a user, by token.
func (s Store) OfUser(ctx context.Context, user string) (map[string][]byte, error) {
	return s.match(ctx, sessionsOf(user))
}

// LogOut ends one session of the user. It leaves the token record: the token may come from
// a form, and could be of somebody else.
func (s Store) LogOut(ctx context.Context, user, token string) error {
	_, err := s.cache.Delete(ctx, wildkey.K("user", user, "session", token))
	return err
}

// LogOutEverywhere ends all sessions of the user.
func (s Store) LogOutEverywhere(ctx context.Context, user string) error {
	_, err := s.cache.DeleteMatch(ctx, sessionsOf(user))
	return err
}

func sessionsOf(user string) wildkey.Pattern {
	pattern, _ := wildkey.NewPattern(
		wildkey.Lit("user"), wildkey.Lit(user), wildkey.Lit("session"), wildkey.Any())
	return pattern // for an invalid user it is invalid, and says so when it is used
}

func (s Store) match(ctx context.Context, patterns ...wildkey.Pattern) (map[string][]byte, error) {
	sessions := map[string][]byte{}
	for _, pattern := range patterns {
		for entry, err := range s.cache.Match(ctx, pattern) {
			if err != nil {
				return nil, err
			}
			sessions[entry.Key[len(entry.Key)-1]] = entry.Value
		}
	}
	return sessions, nil
}

// The methods of scs.Store, for callers without a context.

func (s Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s Store) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

func (s Store) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}
