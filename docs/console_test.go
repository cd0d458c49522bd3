package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"groupsync/internal/processtest"
	"groupsync/internal/processtest/chromium"
	"groupsync/internal/source/keycloaktest"
)

// update writes the pictures of the admin console into docs/pictures.
var update = flag.Bool("update", false, "write the pictures of Keycloak's admin console into docs/pictures")

// The limits of the pictures on the pages.
const (
	mostPictures    = 6
	widestPicture   = 1200      // pixels
	largestPicture  = 120 << 10 // bytes
	largestPictures = 600 << 10 // bytes, all together
)

// console is Keycloak's admin console in a headless Chromium. The test finds elements as a
// reader does: by kind and visible name.
type console struct {
	t   *testing.T
	tab context.Context
	url string
	dir string // of the pictures
}

// openConsole starts Chromium, which ends with the test, and signs in as the administrator of
// the server.
func openConsole(t *testing.T, s *keycloaktest.Server) *console {
	t.Helper()
	tab := chromium.Tab(t, "Keycloak's admin console in a browser")
	// The first run starts the browser. The browser ends with the context of that run.
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, tab: tab, url: s.URL + "/admin/master/console/#", dir: t.ArtifactDir()}
	if *update {
		c.dir = "pictures"
	}
	t.Logf("pictures: %s", c.dir)
	c.do(chromedp.EmulateViewport(1000, 1100))
	c.open("/clearml/clients")
	c.write("Username or email", "admin")
	c.write("Password", "admin")
	c.click("button", "Sign In")
	return c
}

// patience limits one step on a busy machine.
const patience = time.Minute

func (c *console) do(steps ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		c.t.Fatal(err)
	}
}

// open goes to the page of the console.
func (c *console) open(path string) { c.t.Helper(); c.do(chromedp.Navigate(c.url + path)) }

// finder defines found. found returns the visible elements of a kind with that name, inside
// the dialog if one is open. A row is found by the texts of its cells.
const finder = `const found = (kind, ...names) => {
  const plain = (text) => (text ?? "").replace(/\s+/g, " ").replace(/\*/g, "").trim();
  const kinds = {
    button: "button, a, input[type=submit]", tab: "[role=tab]", item: "[role=menuitem]", row: "tr",
    box: "input[type=checkbox]", field: "input:not([type=checkbox])", text: "h1, h2, label, td, th, span, div, p",
  };
  const of = (e) => kind === "row" ? [...e.cells].map((cell) => plain(cell.textContent)) :
    [e.getAttribute("aria-label"), e.placeholder, e.textContent, ...[...(e.labels ?? [])].map((l) => l.textContent)].map(plain);
  const root = document.querySelector("[role=dialog]") ?? document;
  return [...root.querySelectorAll(kinds[kind])].filter((e) => e.getClientRects().length > 0 && names.every((n) => of(e).includes(n)));
};`

// until waits until the script returns a true value. The script may call found. An error of
// the script counts as no, because the page may still be loading.
func (c *console) until(script string) {
	c.t.Helper()
	var yes bool
	var err error
	for end := time.Now().Add(patience); !yes; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			text, _ := chromedp.Run(c.tab, chromedp.Evaluate[string](`document.body.innerText`))
			c.t.Fatalf("the console does not come to %s (%v)\nit shows:\n%s", script, err, text)
		}
		ctx, cancel := context.WithTimeout(c.tab, patience)
		yes, err = chromedp.Run(ctx, chromedp.Evaluate[bool](`(() => { `+finder+` return !!(`+script+`) })()`))
		cancel()
	}
}

// see waits until the console shows the element.
func (c *console) see(kind string, names ...string) {
	c.t.Helper()
	c.until(foundJS(kind, names...) + `.length > 0`)
}

// click clicks the element when it is there and enabled.
func (c *console) click(kind string, names ...string) {
	c.t.Helper()
	c.until(`(([e]) => e && !e.disabled && e.getAttribute("aria-disabled") !== "true" && (e.click(), true))(` + foundJS(kind, names...) + `)`)
}

// choose opens the menu of the button and chooses the item. The console closes a menu when it
// redraws the page, so choose opens the menu again until it shows the item.
func (c *console) choose(button, item string) {
	c.t.Helper()
	c.until(`(([item], [e]) => item ? (item.click(), true) : (e && e.getAttribute("aria-expanded") !== "true" && e.click(), false))(` + foundJS("item", item) + `, ` + foundJS("button", button) + `)`)
}

// set switches the box or switch on or off, and waits until the console shows that.
func (c *console) set(name string, on bool) {
	c.t.Helper()
	c.until(fmt.Sprintf(`(([e]) => e && (e.checked === %t || (e.click(), false)))(%s)`, on, foundJS("box", name)))
}

// write replaces the text of the field.
func (c *console) write(field, text string) {
	c.t.Helper()
	c.until(`(([e]) => e && (e.focus(), e.select(), document.activeElement === e))(` + foundJS("field", field) + `)`)
	c.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// foundJS returns the call of found.
func foundJS(kind string, names ...string) string {
	args, err := json.Marshal(append([]string{kind}, names...))
	if err != nil {
		panic(err)
	}
	return "found(..." + string(args) + ")"
}

// picture writes a picture of the console from the first element to the last, over the whole
// width of the page or the dialog. first and last are calls of found.
func (c *console) picture(name, first, last string) {
	c.t.Helper()
	const alerts = `[...document.querySelectorAll("[aria-label^=Close][aria-label*=alert]")]`
	c.until(`(` + alerts + `.forEach((e) => e.click()), ` + alerts + `.length === 0) && ` + first + `.length > 0 && ` + last + `.length > 0`)
	ctx, cancel := context.WithTimeout(c.tab, patience)
	defer cancel()
	box, err := chromedp.Run(ctx, chromedp.Evaluate[cdppage.Viewport](`(() => { `+finder+`
		const frame = (document.querySelector("[role=dialog]") ?? document.querySelector("main")).getBoundingClientRect();
		const top = Math.max(frame.top, `+first+`.at(-1).getBoundingClientRect().top - 16), bottom = Math.min(frame.bottom, `+last+`.at(-1).getBoundingClientRect().bottom + 16);
		return { x: frame.left, y: top, width: frame.width, height: bottom - top, scale: 1 };
	})()`))
	if err != nil {
		c.t.Fatal(err)
	}
	var taken []byte
	c.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		r, err := cdp.Call(ctx, tab, cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{Clip: &box})
		taken = r.Data
		return err
	}))
	write(c.t, filepath.Join(c.dir, name+".png"), string(taken))
}

// TestTheConsole follows the steps of getting-started.md in the admin console of the tested
// Keycloak, and takes the pictures of the page. It checks that the client and the mapper are
// then what the page promises.
func TestTheConsole(t *testing.T) {
	s := keycloaktest.Shared(t)
	r := &reader{realm: s.ImportRealm(t, []byte(read(t, "../examples/realm/clearml-realm.json")))}
	r.realm.Do(t, "DELETE", "/clients/"+r.clients(t)[0], nil, nil) // the page begins without the client
	claim := r.realm.Claim(t, "ken")
	r.dropMapper(t)
	c := openConsole(t, s)
	c.makesClient()
	secret := r.hasClient(t)
	c.makesMapper()
	if got := r.realm.Claim(t, "ken"); len(claim) == 0 || !slices.Equal(got, claim) {
		t.Errorf("with the mapper the claim of ken is %q, want %q", got, claim)
	}
	r.checks(t, secret)
}

// makesClient makes the client groupsync.
func (c *console) makesClient() {
	c.click("button", "Create client")
	c.write("Client ID", "groupsync")
	c.click("button", "Next")
	c.set("Client authentication", true)
	c.set("Standard flow", false)
	c.set("Service account roles", true)
	c.picture("client", foundJS("text", "Client authentication"), foundJS("text", "OIDC CIBA Grant"))
	c.click("button", "Next")
	c.click("button", "Save")
	c.click("tab", "Service account roles")
	c.see("row", "default-roles-clearml")
	c.choose("Assign role", "Client roles")
	c.see("row", "view-applications", "account")
	c.write("Search", "view-")
	c.do(chromedp.KeyEvent(kb.Enter))
	c.see("row", "view-realm", "realm-management")
	c.choose("1 - 10", "20 per page")
	for _, role := range []string{"view-users", "view-realm", "view-clients"} {
		c.until(`(([row]) => row && (([e]) => e.checked || (e.click(), false))(row.querySelectorAll("input")))(` + foundJS("row", role, "realm-management") + `)`)
	}
	c.picture("assign", foundJS("text", "Assign Client roles to groupsync"), foundJS("button", "Assign"))
	c.click("button", "Assign")
	c.see("row", "realm-managementview-clients")
	c.picture("roles", foundJS("tab", "Service account roles"), foundJS("row", "default-roles-clearml"))
	c.click("tab", "Credentials")
	// The page contains the secret and shows it as dots.
	c.until(`(([e]) => e && e.type === "password" && e.value !== "")(` + foundJS("field", "Client Secret") + `)`)
	c.picture("credentials", foundJS("tab", "Credentials"), foundJS("field", "Client Secret"))
}

// makesMapper makes the group mapper of ClearML's client.
func (c *console) makesMapper() {
	c.open("/clearml/clients")
	c.click("button", "clearml")
	c.click("tab", "Client scopes")
	c.click("button", "clearml-dedicated")
	c.click("button", "Configure a new mapper")
	c.click("text", "Group Membership")
	c.write("Name", "groups")
	c.write("Token Claim Name", "groups")
	c.set("Full group path", false)
	c.picture("mapper", foundJS("field", "Name"), foundJS("button", "Save"))
	c.click("button", "Save")
	c.until(`/successfully created/i.test(document.body.innerText)`)
}

// dropMapper deletes the mappers of ClearML's client.
func (r *reader) dropMapper(t *testing.T) {
	t.Helper()
	var clients []struct {
		ID              string
		ProtocolMappers []struct{ ID string }
	}
	r.realm.Do(t, "GET", "/clients?clientId=clearml", nil, &clients)
	for _, m := range clients[0].ProtocolMappers {
		r.realm.Do(t, "DELETE", "/clients/"+clients[0].ID+"/protocol-mappers/models/"+m.ID, nil, nil)
	}
}

// hasClient checks that the client groupsync is what the page promises, and returns its
// secret.
func (r *reader) hasClient(t *testing.T) string {
	t.Helper()
	type properties struct {
		PublicClient, StandardFlowEnabled, ImplicitFlowEnabled, DirectAccessGrantsEnabled, ServiceAccountsEnabled bool
	}
	var client struct {
		Secret string
		properties
	}
	ids := r.clients(t)
	if len(ids) != 1 {
		t.Fatalf("%d clients groupsync, want 1", len(ids))
	}
	r.realm.Do(t, "GET", "/clients/"+ids[0], nil, &client)
	if want := (properties{ServiceAccountsEnabled: true}); client.properties != want || client.Secret == "" {
		t.Errorf("the client is %+v, want %+v and a secret", client.properties, want)
	}
	type role struct{ Name string }
	var held struct {
		RealmMappings  []role
		ClientMappings map[string]struct{ Mappings []role }
	}
	r.realm.Do(t, "GET", "/users/"+r.realm.UserID(t, "service-account-groupsync")+"/role-mappings", nil, &held)
	var roles []string
	for _, m := range held.RealmMappings {
		roles = append(roles, m.Name)
	}
	for client, m := range held.ClientMappings {
		for _, m := range m.Mappings {
			roles = append(roles, client+"/"+m.Name)
		}
	}
	slices.Sort(roles)
	if d := cmp.Diff([]string{"default-roles-clearml", "realm-management/view-clients", "realm-management/view-realm", "realm-management/view-users"}, roles); d != "" {
		t.Errorf("the roles of the service account, -want +got\n%s", d)
	}
	return client.Secret
}

// checks runs groupsync check with the secret, on the Keycloak side. No line says that
// something must be fixed, and the roles and the group mapper are right.
func (r *reader) checks(t *testing.T, secret string) {
	t.Helper()
	r.dir, r.program = t.TempDir(), processtest.Groupsync(t, "..")
	r.begin(t)
	r.credentials(t)
	write(t, filepath.Join(r.dir, "secrets", "client_secret"), secret+"\n")
	write(t, filepath.Join(r.dir, "config.yaml"), r.here(apart(t, "getting-started.md").files["config.yaml"]))
	cmd := exec.Command(r.program, "check", "--config", "config.yaml")
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("groupsync check: %v", err)
	}
	for _, want := range []string{"✔ keycloak-credentials", "✔ keycloak-roles", "✔ sign-in-groups", ", 0 errors"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("groupsync check says no %q:\n%s", want, out)
		}
	}
}

// shown matches a picture on a page: its alternative text and its file.
var shown = regexp.MustCompile(`!\[([^\]]*)\]\((pictures/[\w-]+\.png)\)`)

// TestPictures checks the limits of the pictures. getting-started.md shows each file with a
// text, and each picture on the page exists.
func TestPictures(t *testing.T) {
	named := map[string]bool{}
	for _, m := range shown.FindAllStringSubmatch(read(t, "getting-started.md"), -1) {
		if named[m[2]] = true; len(strings.Fields(m[1])) < 5 {
			t.Errorf("the text of %s says too little: %q", m[2], m[1])
		}
	}
	files, err := filepath.Glob("pictures/*")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(files, slices.Sorted(maps.Keys(named))); d != "" || len(files) == 0 || len(files) > mostPictures {
		t.Errorf("%d pictures, at most %d; -files +named\n%s", len(files), mostPictures, d)
	}
	all := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		size, err := png.DecodeConfig(bytes.NewReader(data))
		if all += len(data); err != nil || size.Width > widestPicture || len(data) > largestPicture {
			t.Errorf("%s: %d pixels wide, %d bytes, %v; at most %d pixels and %d bytes", file, size.Width, len(data), err, widestPicture, largestPicture)
		}
	}
	if all > largestPictures {
		t.Errorf("the pictures have %d bytes, at most %d", all, largestPictures)
	}
}
