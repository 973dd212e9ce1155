package main

import (
	"context"
	"flag"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var screenshot = flag.String("screenshot", "", "write a picture of the devices to this file")

// requireEnv names the variable that, set to 1, turns a missing chromium from a skip into
// a failure.
const requireEnv = "WILDKEY_REQUIRE_BROWSER"

const (
	onLaptop = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	onPhone  = "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
)

func TestBrowser(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil && os.Getenv(requireEnv) != "1" {
		t.Skip("No chromium: the page is not tested in a browser.")
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newTestApp(t).handler())
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, // as root there is none
		chromedp.WSURLReadTimeout(5*time.Minute))...)
	defer cancel()
	phone, cancel := chromedp.NewContext(ctx)
	defer cancel()
	laptop, cancel := chromedp.NewContext(ctx) // a browser of its own
	defer cancel()
	run := func(ctx context.Context, actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}

	var rows string
	signIn := func(ctx context.Context, agent string) {
		t.Helper()
		run(ctx, emulation.SetUserAgentOverride(agent), chromedp.Navigate(server.URL),
			chromedp.SendKeys("#name", "Ann", chromedp.ByQuery), chromedp.Submit("#name", chromedp.ByQuery),
			chromedp.WaitVisible("ul", chromedp.ByQuery))
	}
	signIn(phone, onPhone)
	signIn(laptop, onLaptop)
	run(laptop, chromedp.Evaluate(`[...document.querySelectorAll("li strong")].map(e => e.innerText).join(", ")`, &rows))
	if want := "Firefox on Linux, Chrome on Android"; rows != want {
		t.Errorf("the devices are %q, want %q", rows, want)
	}
	if *screenshot != "" {
		var png []byte
		run(laptop, chromedp.EmulateViewport(720, 300, chromedp.EmulateScale(2)), chromedp.FullScreenshot(&png, 100))
		if err := os.WriteFile(*screenshot, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(laptop, chromedp.Click("button.all", chromedp.ByQuery), chromedp.WaitVisible("#name", chromedp.ByQuery))
	run(phone, chromedp.Reload(), chromedp.WaitVisible("#name", chromedp.ByQuery))
	for _, browser := range []context.Context{phone, laptop} {
		if err := chromedp.Cancel(browser); err != nil { // a browser that is killed leaves files behind
			t.Error(err)
		}
	}
}
