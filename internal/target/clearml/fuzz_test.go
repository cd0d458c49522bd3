package clearml

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"groupsync/internal/fault"
	"groupsync/internal/target/clearmltest"
)

// FuzzRead replaces one answer of ClearML. A reading must either be complete, with each user
// and group once and with an id, or be an error of ClearML. The same answer must give an equal
// snapshot again.
func FuzzRead(f *testing.F) {
	calls := []string{loginCall, groupsCall, "users.get_all", serviceUsersCall}
	codes := []int{200, 204, 302, 400, 401, 403, 500}
	ok := func(data string) string {
		return `{"meta":{"id":"x","result_code":200,"result_subcode":0},"data":` + data + `}`
	}
	f.Add(0, 0, ok(`{"token":"a.e30.c"}`))
	f.Add(1, 0, ok(`{"groups":[{"id":"g","name":"team","system":false,"assignable":true,"users":[{"id":"a","name":"Ann"}]}]}`))
	f.Add(1, 0, ok(`{"groups":[{"id":"g"},{"id":"g"}]}`))
	f.Add(2, 0, ok(`{"users":[{"id":"a","providers":{"keycloak":{"SUB":"x","sub":1}}}]}`))
	f.Add(2, 0, ok(`{"users":[]}`))
	f.Add(3, 0, ok(`{"users":[{"id":" "}]}`))
	f.Add(1, 4, `{"meta":{"result_code":401,"result_subcode":22,"result_msg":"no"},"data":{}}`)
	f.Add(2, 0, `[]`)
	f.Fuzz(func(t *testing.T, call, code int, body string) {
		at := func(i, n int) int { return int(uint(i) % uint(n)) }
		s := clearmltest.New(t, clearmltest.Options{})
		s.AddUser(clearmltest.User{ID: "a", Name: "Ann", Email: "a@x"})
		s.AddTeam("team", "a")
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" || !strings.HasSuffix(r.URL.Path, calls[at(call, len(calls))]) {
				s.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(codes[at(code, len(codes))])
			_, _ = io.WriteString(w, body)
		}))
		defer srv.Close()
		c := configured(t, Config{URL: srv.URL, Keys: keys("access", "secret"), RetryWait: 1})
		snap, err := c.Read(t.Context())
		again, errAgain := c.Read(t.Context())
		if (err == nil) == (snap == nil) || (err == nil) != (errAgain == nil) {
			t.Fatalf("snapshot %v, error %v; again %v, %v", snap != nil, err, again != nil, errAgain)
		}
		if err == nil {
			if !reflect.DeepEqual(snap.Users(), again.Users()) || !reflect.DeepEqual(snap.Groups(), again.Groups()) {
				t.Errorf("the same answers gave another snapshot")
			}
			ids := map[string]bool{}
			for _, u := range snap.Users() {
				if ids["user "+u.ID] || u.ID == "" {
					t.Errorf("the user %q is there twice, or has no id", u.ID)
				}
				ids["user "+u.ID] = true
			}
			for _, g := range snap.Groups() {
				if ids["group "+g.ID] || g.ID == "" {
					t.Errorf("the group %q is there twice, or has no id", g.ID)
				}
				ids["group "+g.ID] = true
			}
		}
		if f := fault.Of(err); err != nil && (f == nil || f.System != fault.ClearML || f.Reason == "") {
			t.Errorf("an error that is not ClearML's: %v", err)
		}
	})
}
