package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

func newTestApp(t *testing.T) *app {
	t.Helper()
	cache, err := wildkey.New(luatest.Live().Client(), wildkey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newApp(cache)
}

// browser is a client with cookies of its own.
type browser struct {
	*testing.T
	site   *url.URL
	client http.Client
}

func newBrowser(t *testing.T, server *httptest.Server) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	site, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, site, http.Client{Jar: jar}}
}

func (b browser) read(response *http.Response, err error) string {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

func (b browser) get(path string) string {
	b.Helper()
	return b.read(b.client.Get(b.site.JoinPath(path).String()))
}

func (b browser) post(path string, form ...string) string {
	b.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	return b.read(b.client.PostForm(b.site.JoinPath(path).String(), values))
}

// token returns what the cookie of the session holds.
func (b browser) token() string {
	for _, cookie := range b.client.Jar.Cookies(b.site) {
		return cookie.Value
	}
	return ""
}

func (b browser) wantSignedIn(page string, want bool) {
	b.Helper()
	if strings.Contains(page, "Your devices") != want || strings.Contains(page, `action="/sign-in"`) == want {
		b.Errorf("signed in: not %v:\n%s", want, page)
	}
}

var hiddenToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

func TestApp(t *testing.T) {
	server := httptest.NewServer(newTestApp(t).handler())
	defer server.Close()
	laptop, phone, stranger := newBrowser(t, server), newBrowser(t, server), newBrowser(t, server)
	laptop.wantSignedIn(laptop.get("/"), false)
	laptop.wantSignedIn(laptop.post("/sign-in", "name", "ann <b>"), true)
	phone.wantSignedIn(phone.post("/sign-in", "name", "ann <b>"), true)
	stranger.wantSignedIn(stranger.post("/sign-in", "name", "bob"), true)

	devices := laptop.get("/")
	if !strings.Contains(devices, "ann &lt;b&gt;") {
		t.Errorf("the page does not show the name:\n%s", devices)
	}
	tokens := hiddenToken.FindAllStringSubmatch(devices, -1)
	if len(tokens) != 2 || strings.Count(devices, "this device") != 1 || strings.Index(devices, "this device") > strings.Index(devices, tokens[0][1]) {
		t.Fatalf("the page does not show two devices, and first this one:\n%s", devices)
	}
	for _, b := range []browser{laptop, phone} {
		if strings.Contains(devices, b.token()) {
			t.Error("the page holds a token that a cookie may hold")
		}
	}

	stranger.wantSignedIn(stranger.post("/log-out", "token", tokens[1][1]), true)
	phone.wantSignedIn(phone.get("/"), true) // it was not the stranger's to log out
	if reply := laptop.post("/log-out"); !strings.Contains(reply, "names no device") {
		t.Errorf("log-out without a token: %s", reply)
	}
	laptop.wantSignedIn(laptop.post("/log-out", "token", tokens[1][1]), true) // the page lists itself first
	laptop.wantSignedIn(laptop.get("/"), true)
	phone.wantSignedIn(phone.get("/"), false)

	phone.wantSignedIn(phone.post("/sign-in", "name", "ann <b>"), true)
	laptop.wantSignedIn(laptop.post("/log-out-everywhere"), false)
	phone.wantSignedIn(phone.get("/"), false)
	stranger.wantSignedIn(stranger.get("/"), true)
}

// A sign-in changes the token, so that one who knew it before is not signed in.
func TestSignInRenewsTheToken(t *testing.T) {
	server := httptest.NewServer(newTestApp(t).handler())
	defer server.Close()
	b := newBrowser(t, server)
	b.post("/sign-in", "name", "ann")
	before := b.token()
	b.post("/sign-in", "name", "bob")
	if after := b.token(); before == "" || after == before {
		t.Errorf("the token was %q and is %q", before, after)
	}
	request, err := http.NewRequest("GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.AddCookie(&http.Cookie{Name: "session", Value: before})
	b.wantSignedIn(b.read(http.DefaultClient.Do(request)), false)
}

// A request is under way while the user logs out everywhere. Its session does not come
// back, and the browser is led to the form.
func TestLogOutDuringARequest(t *testing.T) {
	a := newTestApp(t)
	mux := http.NewServeMux()
	mux.Handle("/", a.handler())
	mux.Handle("/slow", a.store.LoadAndSave(a.sessions, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.sessions.Put(r.Context(), "color", "red")
		if err := a.store.LogOutEverywhere(r.Context(), "ann"); err != nil {
			t.Error(err)
		}
	})))
	server := httptest.NewServer(mux)
	defer server.Close()
	b := newBrowser(t, server)
	b.post("/sign-in", "name", "ann")
	b.wantSignedIn(b.get("/slow"), false)
	if token := b.token(); token != "" {
		t.Errorf("the cookie still holds %q", token)
	}
	if all, err := a.store.AllCtx(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d sessions live on, %v", len(all), err)
	}
}
