package clearml

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

// pageSize is the number of users in a page. If a request asks for more than 500, ClearML returns
// 500 and no error (reference/clearml-api.md).
const pageSize = 500

// pagesAtOnce is how many pages of users are read at the same time. The server closes every
// connection after its answer, so each page costs a connection.
const pagesAtOnce = 4

// maxReadings is how often agreed reads the whole user list at most.
const maxReadings = 4

// userRecord is a user in the form of users.get_all, as an administrator gets it.
type userRecord struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	GivenName  string          `json:"given_name"`
	FamilyName string          `json:"family_name"`
	Email      string          `json:"email"`
	Role       string          `json:"role"`
	Providers  json.RawMessage `json:"providers"`
	SecGroups  []string        `json:"sec_groups"`
}

// users returns every user of the user list (users.get_all), and every service account. It is
// unknown whether the user list contains service accounts (reference/clearml-api.md).
func (c *Client) users(ctx context.Context) ([]target.User, error) {
	records, err := c.agreed(ctx)
	if err != nil {
		return nil, err
	}
	users, err := decodeUsers(records)
	if err != nil {
		return nil, err
	}
	service, err := c.serviceUsers(ctx)
	if err != nil {
		return nil, err
	}
	place := make(map[string]int, len(users))
	for i, u := range users {
		place[u.ID] = i
	}
	for _, s := range service {
		if i, listed := place[s.ID]; listed {
			users[i].ServiceAccount = true
			continue
		}
		users = append(users, target.User{ID: s.ID, Name: s.Name, Role: s.Role, ServiceAccount: true})
	}
	return users, nil
}

// agreed reads the user list until two readings in a row have the same users. If a user is
// deleted while a reading is between two pages, another user can be missing from that reading.
// Only a second reading shows the difference.
func (c *Client) agreed(ctx context.Context) ([]userRecord, error) {
	var last []string
	for range maxReadings {
		records, complete, err := c.reading(ctx)
		if err != nil {
			return nil, err
		}
		if !complete {
			last = nil
			continue
		}
		ids := make([]string, len(records))
		for i, u := range records {
			ids[i] = u.ID
		}
		slices.Sort(ids)
		if last != nil && slices.Equal(ids, last) {
			return records, nil
		}
		last = ids
	}
	return nil, failf(fault.Incomplete, "users.get_all", "%d readings of the user list, and no two in a row agree: users are being added or deleted; run again", maxReadings)
}

// reading reads the user list once, page by page, up to an empty page. After a full page it reads
// pagesAtOnce pages at a time. complete is false if a user appeared twice, because another user
// may then be missing.
func (c *Client) reading(ctx context.Context) (records []userRecord, complete bool, err error) {
	seen := make(map[string]bool)
	for next, n := 0, 1; ; {
		pages, err := c.pages(ctx, next, n)
		if err != nil {
			return nil, false, err
		}
		next, n = next+n, 1 // if no page was full, only an empty page is likely to follow, so one is read
		for _, users := range pages {
			if len(users) == 0 {
				return records, true, nil
			}
			if len(users) == pageSize {
				n = pagesAtOnce
			}
			for _, u := range users {
				if seen[u.ID] {
					return nil, false, nil
				}
				seen[u.ID] = true
			}
			records = append(records, users...)
		}
	}
}

// pages reads n pages at the same time, beginning with the page first, and returns them in order.
func (c *Client) pages(ctx context.Context, first, n int) ([][]userRecord, error) {
	pages := make([][]userRecord, n)
	work, ctx := errgroup.WithContext(ctx)
	for i := range pages {
		work.Go(func() (err error) {
			pages[i], err = c.page(ctx, first+i)
			return err
		})
	}
	return pages, work.Wait()
}

func (c *Client) page(ctx context.Context, page int) ([]userRecord, error) {
	var data struct {
		Users *[]userRecord `json:"users"`
	}
	err := c.read(ctx, request{call: "users.get_all", body: map[string]any{
		"page": page, "page_size": pageSize, "order_by": []string{"id"},
		"include_auth": true, "include_providers_info": true,
	}}, &data)
	switch {
	case err != nil:
		return nil, err
	case data.Users == nil:
		return nil, failf(fault.Shape, "users.get_all", "the answer has no users, not even an empty list: groupsync does not know this version of ClearML")
	case slices.ContainsFunc(*data.Users, func(u userRecord) bool { return u.ID == "" }):
		return nil, failf(fault.Shape, "users.get_all", "the answer has a user without an id: groupsync does not know this version of ClearML")
	}
	return *data.Users, nil
}

// decodeUsers turns records into users. The server leaves out unset fields. So if some record has
// the field providers, a user without the field has used no provider. If no record has the field,
// the server does not return providers, and User.Providers is nil for every user.
func decodeUsers(records []userRecord) (users []target.User, err error) {
	given := slices.ContainsFunc(records, func(u userRecord) bool { return present(u.Providers) })
	users = make([]target.User, len(records))
	for i, r := range records {
		u := target.User{
			ID: r.ID, Name: r.Name, GivenName: r.GivenName, FamilyName: r.FamilyName,
			Email: r.Email, Role: r.Role, Groups: r.SecGroups,
		}
		if given {
			u.Providers = make(map[string][]string)
		}
		if present(r.Providers) {
			if u.Providers, err = providersOf(r); err != nil {
				return nil, err
			}
		}
		users[i] = u
	}
	return users, nil
}

// providersOf returns, by the name of each sign-in provider of a user, the values that can be the
// user's id at that provider (idsIn). If there is no such value, the provider has an empty list.
// providersOf accepts an empty list in place of an empty object of providers.
func providersOf(r userRecord) (map[string][]string, error) {
	var providers map[string]any
	var none []struct{}
	if err := json.Unmarshal(r.Providers, &providers); err != nil && (json.Unmarshal(r.Providers, &none) != nil || len(none) > 0) {
		return nil, failf(fault.Shape, "users.get_all", "the providers of the user %s are not an object: groupsync does not know this version of ClearML", r.ID)
	}
	all := make(map[string][]string, len(providers))
	for name, value := range providers {
		all[name] = idsIn(value)
	}
	return all, nil
}

// idKeys are the keys under which a provider may store its own id of a user.
var idKeys = []string{"sub", "id", "user_id", "external_id"}

// idsIn returns the ids that a user may have at a sign-in provider, sorted. value is what ClearML
// stores about the user for this provider. If value is a string, it is the only id. The string
// may also be the time of the last sign-in, which is harmless, because it is no account's id. If
// value is an object, its strings under idKeys are ids. The case of a key does not matter. If the
// object has a subject (sub), idsIn ignores its other keys, because a realm can fill other claims
// from attributes that people may edit.
//
// idsIn does not search nested objects. By ClearML's documentation the object is what the
// provider told. groupsync assumes that its keys are claims of the token. An id below a claim such
// as manager belongs to another person.
func idsIn(value any) []string {
	ids := []string{}
	switch value := value.(type) {
	case string:
		if value != "" {
			ids = append(ids, value)
		}
	case map[string]any:
		for _, want := range idKeys {
			for key, v := range value {
				if id, is := v.(string); is && id != "" && asciiFold(key) == want {
					ids = append(ids, id)
				}
			}
			if want == "sub" && len(ids) > 0 {
				break
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// asciiFold returns the text with the letters A to Z in lower case. strings.ToLower would also
// turn some other characters into a to z, such as the Kelvin sign into k.
func asciiFold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func present(v json.RawMessage) bool { return len(v) > 0 && !bytes.Equal(v, []byte("null")) }

const serviceUsersCall = "users.get_service_users"

// serviceUsers returns the service accounts. If the server does not have the call
// users.get_service_users, serviceUsers returns no accounts and no error, and logs one warning.
func (c *Client) serviceUsers(ctx context.Context) ([]userRecord, error) {
	records, err := c.listServiceUsers(ctx)
	if f := fault.Of(err); f != nil && f.Reason == fault.NotFound {
		c.warnOnce(ctx, "this ClearML does not list its service accounts: protect them by users.protect", "call", serviceUsersCall)
		return nil, nil
	}
	return records, err
}

// listServiceUsers returns the service accounts. If the server does not have the call
// users.get_service_users, the error has the reason not_found.
func (c *Client) listServiceUsers(ctx context.Context) ([]userRecord, error) {
	var data struct {
		Users *[]userRecord `json:"users"`
	}
	if err := c.read(ctx, request{call: serviceUsersCall, body: struct{}{}}, &data); err != nil {
		return nil, err
	}
	if data.Users == nil {
		return nil, failf(fault.Shape, serviceUsersCall, "the answer has no users, not even an empty list: groupsync does not know this version of ClearML")
	}
	for _, u := range *data.Users {
		if strings.TrimSpace(u.ID) == "" {
			return nil, failf(fault.Shape, serviceUsersCall, "the answer has a user without an id: groupsync does not know this version of ClearML")
		}
	}
	return *data.Users, nil
}

func (c *Client) warnOnce(ctx context.Context, message string, args ...any) {
	c.mu.Lock()
	already := c.warnedOf == message
	c.warnedOf = message
	c.mu.Unlock()
	if !already {
		c.log.WarnContext(ctx, message, args...)
	}
}
