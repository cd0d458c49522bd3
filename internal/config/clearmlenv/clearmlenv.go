// Package clearmlenv understands the variables by which ClearML is told of its
// sign-in through Keycloak (reference/clearml-keycloak-idp.md), from the
// environment or from the file that sets them for ClearML. No secret of
// ClearML is kept, and no error quotes one.
package clearmlenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ClearML splits a name at __, ignores its case after CLEARML__, and reads the
// value as HOCON (confirmed in the open server's configuration loader).
const (
	prefix  = "CLEARML__"
	service = "services__login__sso__oauth_client__keycloak__"
	secure  = "secure__login__sso__oauth_client__keycloak__"

	baseURL        = service + "base_url"
	authorizeURL   = service + "authorize_url"
	accessTokenURL = service + "access_token_url"
	clientID       = secure + "client_id"
	groupsEnabled  = service + "groups__enabled"
	groupsClaim    = service + "groups__claim"
	groupsAdmins   = service + "groups__admins"
	adminRole      = service + "admin_role"
)

// names are the variables that are known, each with whether its value is looked
// at. The value of any other is dropped where it is read.
var names = map[string]bool{
	baseURL: true, authorizeURL: true, accessTokenURL: true, clientID: true,
	groupsEnabled: true, groupsClaim: true, groupsAdmins: true, adminRole: true,
	secure + "client_secret":                                 false,
	secure + "default_company":                               false,
	service + "claims__name":                                 false,
	service + "groups__prohibit_user_signup_if_not_in_group": false,
	service + "idp_logout":                                   false,
	service + "get_info_from_access_token":                   false,
}

// Facts is what ClearML's own variables say to groupsync.
type Facts struct {
	Values []Value // one a key, in the order of the variables above
	// GroupsOff names the variable that switches ClearML's own sync of groups
	// off; empty: none does.
	GroupsOff string
	Remarks   []Remark // on what is not understood or left open, in the order found
}

// Remark is a sentence on what ClearML's variables leave open. Where Key is not
// empty, a value for that key settles it.
type Remark struct{ Key, Text string }

// Value is the value of one key of groupsync's configuration, and the variable
// that gives it.
type Value struct {
	Key   string
	Value any // string, []string or *string, as the key's field is
	From  string
}

// Read returns what the environment (NAME=value, as os.Environ gives it) and the
// file say together; an empty path is no file. Its error joins a sentence for
// each variable that cannot be read, or that contradicts another one.
func Read(path string, env []string) (Facts, error) {
	var found []variable
	for _, entry := range slices.Sorted(slices.Values(env)) {
		if name, value, _ := strings.Cut(entry, "="); relevant(name) {
			found = append(found, variable{name: name, value: value, origin: "environment"})
		}
	}
	inFile, err := readFile(path)
	if err != nil {
		return Facts{}, err
	}
	var f Facts
	found = append(found, inFile...)
	vars, err := f.sort(found)
	err = errors.Join(err, f.realm(vars), f.client(vars), f.groups(vars), f.role(vars))
	if err != nil {
		return Facts{}, err
	}
	open := !slices.ContainsFunc(found, func(v variable) bool { return v.short() == adminRole })
	if open && len(found) > 0 {
		f.remark("admins.role", "%s is not set, so ClearML honours a role claim of its own default, which groupsync does not guess: set it, or write admins.role", prefix+adminRole)
	}
	return f, nil
}

// relevant says whether a name is about the sign-in through Keycloak, known or not.
func relevant(name string) bool {
	return strings.HasPrefix(name, prefix) && strings.Contains(strings.ToLower(name), "__keycloak__")
}

func (f *Facts) remark(key, format string, args ...any) {
	f.Remarks = append(f.Remarks, Remark{key, fmt.Sprintf(format, args...)})
}

// sort returns the variables whose values are looked at, by their name without
// the prefix.
func (f *Facts) sort(found []variable) (map[string]variable, error) {
	vars := make(map[string]variable)
	var errs []error
	for _, v := range found {
		name := v.short()
		used, known := names[name]
		before, twice := vars[name]
		switch {
		case !known:
			f.remark("", "%s is not understood: correct the name if it is mistyped", v)
		case !used:
		case v.elsewhere:
			f.remark("", "%s gets its value from elsewhere, so nothing is derived from it: write what it is into groupsync's own configuration", v)
		case twice && before.value != v.value:
			errs = append(errs, fmt.Errorf("%s has another value than %s: keep one of them", v, before))
		case !twice:
			vars[name] = v
		}
	}
	return vars, errors.Join(errs...)
}

// agree adds a value, unless another variable gives another one.
func (f *Facts) agree(key, text string, v variable) error {
	for _, other := range f.Values {
		switch {
		case other.Key != key:
		case other.Value != text:
			return fmt.Errorf("%s says %q for %s, but %s says %q: correct one of them, a sign-in has one realm", v, text, key, other.From, other.Value)
		default:
			return nil
		}
	}
	f.add(key, text, v)
	return nil
}

func (f *Facts) add(key string, value any, v variable) {
	f.Values = append(f.Values, Value{key, value, v.String()})
}

func (f *Facts) realm(vars map[string]variable) error {
	var errs []error
	for _, name := range []string{baseURL, authorizeURL, accessTokenURL} {
		text, v, err := vars[name].text()
		if text == "" && err == nil {
			continue
		}
		var root, realm string
		if err == nil {
			root, realm, err = splitURL(text)
		}
		// The base URL is the start of an endpoint, and may be a short one.
		if err == nil && realm == "" && name != baseURL {
			err = fmt.Errorf("%q has no /realms/NAME: write the endpoint of the realm, %s/protocol/openid-connect/… for example", text, exampleURL)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v, err))
			continue
		}
		errs = append(errs, f.agree("keycloak.url", root, v))
		if realm != "" {
			errs = append(errs, f.agree("keycloak.realm", realm, v))
		}
	}
	return errors.Join(errs...)
}

func (f *Facts) client(vars map[string]variable) error {
	return f.plain("keycloak.clearml_client_id", vars[clientID])
}

// plain adds a text that is not empty.
func (f *Facts) plain(key string, v variable) error {
	text, v, err := v.text()
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	if text != "" {
		f.add(key, text, v)
	}
	return nil
}

// groups derives from the login's sync of groups only where it is on: what an
// idle one would do says nothing.
func (f *Facts) groups(vars map[string]variable) error {
	text, v, err := vars[groupsEnabled].text()
	switch strings.ToLower(text) {
	case "true":
		return errors.Join(f.plain("groups.claim", vars[groupsClaim]), f.admins(vars))
	case "false":
		f.GroupsOff = v.String()
		fallthrough
	case "":
		if err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		for _, name := range []string{groupsClaim, groupsAdmins} {
			if v, told := vars[name]; told {
				f.remark("", "%s means nothing to ClearML unless %s is true, so nothing is derived from it", v, prefix+groupsEnabled)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %q is neither true nor false: write one of them", v, text)
}

func (f *Facts) admins(vars map[string]variable) error {
	v, told := vars[groupsAdmins]
	if !told {
		return nil
	}
	// HOCON has laxer lists, but all of JSON's mean the same there.
	var list []string
	if err := json.Unmarshal([]byte(v.value), &list); err != nil || list == nil {
		return fmt.Errorf(`%s: %q is no list: write it as JSON, ["clearml-admins"] for example, or [] for none`, v, v.value)
	}
	f.add("admins.groups", list, v)
	return nil
}

func (f *Facts) role(vars map[string]variable) error {
	v, told := vars[adminRole]
	if !told {
		return nil
	}
	text, v, err := v.text()
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	if client, role, is := strings.Cut(text, "/"); is {
		f.remark("admins.role", "%s is %q, which admins.role would read as the role %s of the client %s, so nothing is derived from it: write admins.role", v, text, role, client)
		return nil
	}
	f.add("admins.role", &text, v)
	return nil
}

// Agrees says whether a value that groupsync was told for the key means the same.
func (v Value) Agrees(told any) bool {
	switch mine := v.Value.(type) {
	case []string:
		theirs, is := told.([]string)
		return is && slices.Equal(set(mine), set(theirs))
	case *string:
		// ClearML sees a client's role without its client.
		theirs, is := told.(*string)
		return is && (*theirs == *mine || *mine != "" && strings.HasSuffix(*theirs, "/"+*mine))
	case string:
		text, is := told.(string)
		if is && v.Key == "keycloak.url" {
			if root, realm, err := splitURL(text); err == nil && realm == "" {
				text = root
			}
		}
		return is && text == mine
	}
	return false
}

func set(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
