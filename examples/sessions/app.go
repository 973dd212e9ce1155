package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"html/template"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mileusna/useragent"

	"github.com/wildkey/wildkey"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

func init() { gob.Register(time.Time{}) } // for the sessions' data

type app struct {
	store    Store
	sessions *scs.SessionManager
}

// device is a session as the page shows it.
type device struct {
	Token          string // hashed, so that the page gives nobody a session
	Name           string
	SignedIn, Seen time.Time
	Current        bool
}

func newApp(cache *wildkey.Cache) *app {
	a := &app{store: Store{cache}, sessions: scs.New()}
	a.sessions.Store = a.store
	a.sessions.HashTokenInStore = true
	a.sessions.IdleTimeout = time.Hour
	a.sessions.ErrorFunc = a.failed // behind HTTPS set Cookie.Secure too
	return a
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /sign-in", a.signIn)
	mux.HandleFunc("POST /log-out", a.forUser(a.logOut))
	mux.HandleFunc("POST /log-out-everywhere", a.forUser(a.logOutEverywhere))
	return a.store.LoadAndSave(a.sessions, mux)
}

// home shows the user's devices, or a form to sign in.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	user := a.sessions.GetString(r.Context(), userField)
	var devices []device
	if user != "" {
		a.sessions.Put(r.Context(), "seen", time.Now())
		var err error
		if devices, err = a.devices(r.Context(), user); err != nil {
			a.failed(w, r, err)
			return
		}
	}
	var html bytes.Buffer
	if err := page.Execute(&html, map[string]any{"User": user, "Devices": devices}); err != nil {
		a.failed(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(html.Bytes()) // an error says that the browser has gone
}

// devices returns the user's sessions, and first the one that was seen last: this one.
func (a *app) devices(ctx context.Context, user string) ([]device, error) {
	sessions, err := a.store.OfUser(ctx, user)
	if err != nil {
		return nil, err
	}
	var devices []device
	for token, data := range sessions {
		_, values, err := a.sessions.Codec.Decode(data)
		if err != nil {
			return nil, err
		}
		d := device{Token: token, Current: token == a.storedToken(ctx)}
		d.Name, _ = values["device"].(string)
		d.SignedIn, _ = values["signed in"].(time.Time)
		d.Seen, _ = values["seen"].(time.Time)
		if d.Current { // this request is stored when it ends
			d.Seen = a.sessions.GetTime(ctx, "seen")
		}
		devices = append(devices, d)
	}
	slices.SortFunc(devices, func(a, b device) int { return b.Seen.Compare(a.Seen) })
	return devices, nil
}

// signIn asks for a name alone, as this is a demo: check a password here.
func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), strings.TrimSpace(r.PostFormValue("name"))
	if user == "" || len(user) > 100 {
		http.Error(w, "A name has 1 to 100 bytes.", http.StatusBadRequest)
		return
	}
	// A token from before the sign-in may be known to others.
	if err := a.sessions.RenewToken(ctx); err != nil {
		a.failed(w, r, err)
		return
	}
	agent := useragent.Parse(r.UserAgent())
	a.sessions.Put(ctx, userField, user)
	a.sessions.Put(ctx, "device", cmp.Or(agent.Name, "A browser")+" on "+cmp.Or(agent.OS, "some system"))
	a.sessions.Put(ctx, "signed in", time.Now())
	a.sessions.Put(ctx, "seen", time.Now())
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) logOut(r *http.Request, user string) error {
	token := r.PostFormValue("token")
	if token == a.storedToken(r.Context()) {
		return a.sessions.Destroy(r.Context())
	}
	return a.store.LogOut(r.Context(), user, token)
}

func (a *app) logOutEverywhere(r *http.Request, user string) error {
	if err := a.store.LogOutEverywhere(r.Context(), user); err != nil {
		return err
	}
	return a.sessions.Destroy(r.Context())
}

// storedToken returns the session's token as HashTokenInStore has it.
func (a *app) storedToken(ctx context.Context) string {
	sum := sha256.Sum256([]byte(a.sessions.Token(ctx)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// forUser returns a handler that does something for the user who is signed in, and goes
// back to the page.
func (a *app) forUser(act func(r *http.Request, user string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if user := a.sessions.GetString(r.Context(), userField); user != "" {
			if err := act(r, user); err != nil {
				a.failed(w, r, err)
				return
			}
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// failed answers a request that an error ended. A session that was logged out during the
// request leads back to the form.
func (a *app) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrLoggedOut) {
		a.sessions.WriteSessionCookie(r.Context(), w, "", time.Time{})
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if errors.Is(err, wildkey.ErrInvalidKey) {
		http.Error(w, "The form names no device.", http.StatusBadRequest)
		return
	}
	log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
	http.Error(w, "The server cannot answer just now.", http.StatusInternalServerError)
}
