package clearml

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

// This file holds the two calls that `groupsync leavers` makes and a pass does not. ClearML
// documents them for its Enterprise server, but nobody has tried them there
// (reference/clearml-api.md). So if a server lacks a call, refuses it or answers in another form,
// Holdings returns no error. It returns a doubt: a text that says which data is missing.

const (
	rulesCall    = "permissions.get_access_rules"
	activityCall = "users.get_all_ex"
)

// Holdings reads the access rules that name people, and the last activity of all users. It
// returns an error if the server is not reachable or refuses the credentials.
func (c *Client) Holdings(ctx context.Context) (h target.Holdings, err error) {
	rules, err := c.accessRules(ctx)
	if h.RulesDoubt, err = doubtOf(err); err != nil {
		return target.Holdings{}, err
	}
	h.Rules = rules
	activity, err := c.activity(ctx)
	if h.ActivityDoubt, err = doubtOf(err); err != nil {
		return target.Holdings{}, err
	}
	h.Activity = activity
	return h, nil
}

// doubtOf turns an error into a doubt if the server lacks the call, refuses it, or answers in
// another form or incompletely. It returns every other error unchanged.
func doubtOf(err error) (doubt string, _ error) {
	f := fault.Of(err)
	switch {
	case err == nil:
		return "", nil
	case f != nil && slices.Contains([]fault.Reason{fault.NotFound, fault.Forbidden, fault.Rejected, fault.Shape, fault.Incomplete}, f.Reason):
		return err.Error(), nil
	}
	return "", err
}

// ruleRecord is an access rule. ClearML documents only its users and groups. The server leaves
// out unset fields, so a rule without users names no user.
type ruleRecord struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Users  []idRecord      `json:"users"`
	Groups json.RawMessage `json:"groups"`
}

// idRecord is the id of a user in an access rule. ClearML does not document its form, so idRecord
// accepts a string, and an object with the field id.
type idRecord string

func (r *idRecord) UnmarshalJSON(data []byte) error {
	var id string
	if json.Unmarshal(data, &id) != nil {
		var user struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(data, &user); err != nil {
			return err
		}
		id = user.ID
	}
	if id == "" {
		return errors.New("a user without an id")
	}
	*r = idRecord(id)
	return nil
}

// accessRules returns the rules that name people. The server cuts the user list after pageSize
// users, and may cut the list of rules in the same way. So if the number of rules is a multiple
// of pageSize, accessRules returns the rules and also an error of reason incomplete.
func (c *Client) accessRules(ctx context.Context) ([]target.AccessRule, error) {
	var data map[string]json.RawMessage
	if err := c.read(ctx, request{call: rulesCall, body: struct{}{}}, &data); err != nil {
		return nil, err
	}
	records, err := rulesIn(data)
	if err != nil {
		return nil, err
	}
	var rules []target.AccessRule
	for _, r := range records {
		if len(r.Users) == 0 {
			continue
		}
		rule := target.AccessRule{ID: r.ID, Name: r.Name}
		for _, id := range r.Users {
			rule.Users = append(rule.Users, string(id))
		}
		slices.Sort(rule.Users)
		rule.Users = slices.Compact(rule.Users)
		rules = append(rules, rule)
	}
	slices.SortStableFunc(rules, func(a, b target.AccessRule) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name))
	})
	if len(records) > 0 && len(records)%pageSize == 0 {
		return rules, failf(fault.Incomplete, rulesCall, "the answer has exactly %d rules. ClearML cuts its user list after 500 users, and may cut this list too, so rules may be missing: look at the access rules in ClearML", len(records))
	}
	return rules, nil
}

// rulesIn returns the rules in an answer's data. ClearML does not document the key of the list,
// so rulesIn uses the key that ends in "rules". If data has no such list or several, rulesIn
// returns an error.
func rulesIn(data map[string]json.RawMessage) ([]ruleRecord, error) {
	unknown := func(what string) error {
		return failf(fault.Shape, rulesCall, "%s: groupsync does not know this version of ClearML", what)
	}
	var records []ruleRecord
	lists := 0
	for key, value := range data {
		if !strings.HasSuffix(key, "rules") {
			continue
		}
		if !bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")) || json.Unmarshal(value, &records) != nil {
			return nil, unknown("the rules do not have the documented form")
		}
		lists++
	}
	switch {
	case lists != 1:
		return nil, unknown("the answer has no list of rules, not even an empty one")
	case slices.ContainsFunc(records, func(r ruleRecord) bool { return r.Users == nil && !present(r.Groups) }):
		return nil, unknown("a rule names neither users nor groups")
	}
	return records, nil
}

// activityRecord is a user in the form of users.get_all_ex.
type activityRecord struct {
	ID       string `json:"id"`
	Activity *struct {
		UI   moment `json:"last_ui_access"`
		Keys moment `json:"last_credentials_login"`
	} `json:"activity"`
}

// moment is a point in time. ClearML does not document its form, so moment accepts a text with or
// without a time zone, and a number of seconds or milliseconds since 1970. Any other value gives
// the zero time.
type moment struct{ time.Time }

func (m *moment) UnmarshalJSON(data []byte) error {
	var text string
	var number float64
	switch {
	case json.Unmarshal(data, &text) == nil:
		for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
			if t, err := time.Parse(form, text); err == nil {
				m.Time = t.UTC()
				return nil
			}
		}
	case json.Unmarshal(data, &number) == nil && number > 0 && number < 1e14:
		if number > 1e11 { // milliseconds: 1e11 ms is in the year 1973, but 1e11 s is in the year 5138
			number /= 1000
		}
		seconds, part := math.Modf(number)
		m.Time = time.Unix(int64(seconds), int64(part*1e9)).UTC()
	}
	return nil
}

// activity returns the last activity of each user, by user id. Users whose activity the server
// does not return are absent. If the server returns the activity of nobody, the error has the
// reason fault.Shape.
func (c *Client) activity(ctx context.Context) (map[string]target.Activity, error) {
	found, met := make(map[string]target.Activity), make(map[string]bool)
	for page := 0; ; page++ {
		var data struct {
			Users *[]activityRecord `json:"users"`
		}
		err := c.read(ctx, request{call: activityCall, body: map[string]any{
			"page": page, "page_size": pageSize, "order_by": []string{"id"}, "include_auth": true, "include_activity": true,
		}}, &data)
		switch {
		case err != nil:
			return nil, err
		case data.Users == nil:
			return nil, failf(fault.Shape, activityCall, "the answer has no users, not even an empty list: groupsync does not know this version of ClearML")
		}
		known := len(met)
		for _, u := range *data.Users {
			met[u.ID] = true
			if u.ID != "" && u.Activity != nil {
				found[u.ID] = target.Activity{UI: u.Activity.UI.Time, Keys: u.Activity.Keys.Time}
			}
		}
		switch {
		case len(met) > known: // this page had new users, so there may be another page
		case len(found) == 0:
			return nil, failf(fault.Shape, activityCall, "the server returned no user's activity")
		default:
			return found, nil
		}
	}
}
