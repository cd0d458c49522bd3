// Package clearmlenv reads the variables that configure ClearML's sign-in through
// Keycloak (reference/clearml-keycloak-idp.md). It reads them from the environment and
// from the file that sets them for ClearML. The variables can hold secrets of ClearML. The
// package keeps no such secret, and quotes none in an error.
package clearmlenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// The names of the variables. ClearML splits a name at __, ignores the case after the
// prefix, and reads the value as HOCON. (The source of the open ClearML server shows
// this.) The same server is also documented under the name Klique, with KLIQUE__.
const (
	prefix  = "CLEARML__"
	klique  = "KLIQUE__"
	service = "services__login__sso__oauth_client__keycloak__"
	secure  = "secure__login__sso__oauth_client__keycloak__"

	baseURL        = service + "base_url"
	authorizeURL   = service + "authorize_url"
	accessTokenURL = service + "access_token_url"
	groupsEnabled  = service + "groups__enabled"
	groupsClaim    = service + "groups__claim"
	groupsAdmins   = service + "groups__admins"
	needsGroup     = service + "groups__prohibit_user_signup_if_not_in_group"
	groupsCase     = service + "groups__case_sensitive"
	adminRole      = service + "admin_role"
	clientID       = secure + "client_id"
	nameClaim      = service + "claims__name"
	fromToken      = service + "get_info_from_access_token"
)

// use says what groupsync does with the value of a variable.
type use int

const (
	dropped use = iota // groupsync drops the value as soon as it is read
	derived            // the value gives keys of groupsync's configuration
	checked            // only groupsync check uses the value
)

// names holds the known variables, by their names without the prefix. groupsync neither uses nor
// keeps the value of any other variable.
var names = map[string]use{
	baseURL: derived, authorizeURL: derived, accessTokenURL: derived, clientID: derived,
	groupsEnabled: derived, groupsClaim: derived, groupsAdmins: derived, groupsCase: derived, adminRole: derived,
	nameClaim: checked, fromToken: checked, needsGroup: checked,
	secure + "client_secret":   dropped,
	secure + "default_company": dropped,
	service + "idp_logout":     dropped,
}

// keyOf maps a variable to the key of groupsync's configuration that it sets. The three
// URLs are missing, because a URL sets two keys: keycloak.url and keycloak.realm.
var keyOf = map[string]string{
	clientID: "keycloak.clearml_client_id", groupsClaim: "groups.claim", groupsCase: "groups.case_sensitive",
	groupsAdmins: "admins.groups", adminRole: "admins.role",
}

// Facts is what ClearML's own variables tell groupsync.
type Facts struct {
	Values []Value // at most one for each key
	// GroupsOff names the variable that switches ClearML's per-login sync off. It is
	// empty if no variable does.
	GroupsOff string
	SignIn    SignIn
	Remarks   []Remark // in the order found
}

// SignIn holds the settings of ClearML's sign-in that groupsync check uses. In the zero
// value, FromUserinfo has ClearML's default, and the other settings are unknown.
type SignIn struct {
	FromUserinfo bool   // true: ClearML gets the claims from the user-info endpoint; false: from the access token
	NameClaim    string // the claim that holds a person's name; empty: no variable sets the claim
	NeedsGroup   Switch // whether ClearML refuses people who have no Keycloak group that ClearML knows
}

// Switch is a setting that is on, off, or unknown because no variable sets it.
type Switch string

// The values of a Switch. Unknown is the zero value.
const (
	Unknown Switch = ""
	On      Switch = "on"
	Off     Switch = "off"
)

// Remark is a sentence about a variable that sets no key of groupsync. If Key is not
// empty, the remark is unnecessary once groupsync's own configuration sets that key.
type Remark struct{ Key, Text string }

// Value is a value that one of ClearML's variables sets for a key of groupsync's
// configuration.
type Value struct {
	Key   string
	Value any    // string, bool, []string or *string: the type of the key's field in Config
	From  string // the name and the source of the variable
}

// Read returns the facts from env (NAME=value, as os.Environ returns it) and from the
// file path together. If path is empty, there is no file. The error joins a sentence for
// each variable that cannot be read, that contradicts another variable, or that is
// unknown and could change groups or administrators. It has a sentence too if the file
// sets no known variable.
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
	vars, err := f.used(found)
	err = errors.Join(err, f.realm(vars), f.plain(vars, clientID), f.groups(vars), f.role(vars))
	f.signIn(vars)
	if path != "" && !slices.ContainsFunc(inFile, variable.known) {
		err = errors.Join(err, fmt.Errorf("%s: sets no known variable of ClearML's sign-in through Keycloak (%s…, %s… and the same with %s): name the right file with --clearml-env, or leave the flag out",
			filepath.Base(path), prefix+service, prefix+secure, klique))
	}
	if err != nil {
		return Facts{}, err
	}
	open := !slices.ContainsFunc(found, func(v variable) bool { return v.short() == adminRole })
	if open && len(found) > 0 {
		f.remark(keyOf[adminRole], "%s is not set, so ClearML uses its default role claim, which groupsync does not know: set the variable, or set admins.role", prefix+adminRole)
	}
	return f, nil
}

// family is the part that all variables of the sign-in through Keycloak have in their names.
const family = "__keycloak__"

// relevant reports whether a variable of that name configures ClearML's sign-in through
// Keycloak, even if groupsync does not know the variable.
func relevant(name string) bool {
	return (strings.HasPrefix(name, prefix) || strings.HasPrefix(name, klique)) && strings.Contains(strings.ToLower(name), family)
}

// decides reports whether an unknown variable could change who gets which group, or who
// becomes an administrator. short is the name without the prefix.
func decides(short string) bool {
	_, rest, _ := strings.Cut("__"+short, family)
	return strings.HasPrefix(rest, "groups") || strings.HasPrefix(rest, "admin_role")
}

func (f *Facts) remark(key, format string, args ...any) {
	f.Remarks = append(f.Remarks, Remark{key, fmt.Sprintf(format, args...)})
}

// used returns the variables whose values groupsync uses, by their names without the prefix. It
// adds a remark about each variable that groupsync ignores, and about each variable whose value
// is a reference that groupsync cannot resolve. It returns an error if a variable has two values,
// or if a variable is unknown and may change groups or administrators.
func (f *Facts) used(found []variable) (map[string]variable, error) {
	vars := make(map[string]variable)
	var errs []error
	for _, v := range found {
		name := v.short()
		use, known := names[name]
		before, twice := vars[name]
		switch {
		case !known && decides(name):
			errs = append(errs, fmt.Errorf("%s is unknown to groupsync. It may change groups or administrators at ClearML's login, so groupsync cannot ignore it: correct the name if it is mistyped. Otherwise set groupsync's keys groups.* and admins.* to the same effect, and do not give the variable to groupsync. Do not remove it from ClearML: if ClearML reads the same file, give groupsync a copy without the variable", v))
		case !known:
			f.remark("", "%s is unknown to groupsync, which ignores it: correct the name if it is mistyped", v)
		case use == dropped:
		case use == checked && v.elsewhere:
			vars[name] = v
		case v.elsewhere:
			f.remark(keyOf[name], "%s refers to a value that groupsync cannot see, so groupsync derives nothing from it: write the value into groupsync's own configuration", v)
		case twice && before.value != v.value:
			errs = append(errs, fmt.Errorf("%s has another value than %s: keep one of them", v, before))
		case !twice:
			vars[name] = v
		}
	}
	return vars, errors.Join(errs...)
}

// agree adds text, from the variable v, as the value of the key. It returns an error if another
// variable has set the key to a different value.
func (f *Facts) agree(key, text string, v variable) error {
	for _, other := range f.Values {
		switch {
		case other.Key != key:
		case other.Value != text:
			return fmt.Errorf("%s says %q for %s, but %s says %q: correct one of them, because a sign-in has one realm", v, text, key, other.From, other.Value)
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
			root, realm, err = SplitURL(text)
		}
		// The base URL is the start of an endpoint, and may end before the realm.
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

// plain adds the text of a variable to f.Values, without a change, as the value of the variable's
// key (keyOf). name is the variable's name without the prefix. An empty text is not added.
func (f *Facts) plain(vars map[string]variable, name string) error {
	text, v, err := vars[name].text()
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	if text != "" {
		f.add(keyOf[name], text, v)
	}
	return nil
}

// signIn reads the settings that only groupsync check uses. If a value cannot be read,
// signIn adds a remark and no error, because an error would stop every pass.
func (f *Facts) signIn(vars map[string]variable) {
	value := func(name string) variable {
		if vars[name].elsewhere {
			return variable{}
		}
		return vars[name]
	}
	name, v, err := value(nameClaim).text()
	if err != nil {
		f.remark("", "%s: %v; until then the command groupsync check does not know the claim that holds names", v, err)
	}
	f.SignIn.NameClaim = name
	token, given, err := value(fromToken).boolean()
	if err != nil {
		f.remark("", "%v; until then the command groupsync check assumes that this variable is true, which is ClearML's default", err)
	}
	f.SignIn.FromUserinfo = given && !token
	if f.SignIn.NeedsGroup, err = needs(vars); err != nil {
		f.remark("", "%v; until then the command groupsync check does not know whether ClearML refuses people without a group", err)
	}
}

// needs returns whether ClearML refuses people who have no Keycloak group that ClearML knows: a
// group with the name of a user group, or a group of administrators. This setting belongs to the
// per-login sync. If no variable says whether the per-login sync is on, needs returns Unknown. If the
// sync is off, it returns Off.
func needs(vars map[string]variable) (Switch, error) {
	enabled, given, err := vars[groupsEnabled].boolean()
	switch {
	case err != nil || !given || vars[needsGroup].elsewhere:
		return Unknown, nil // Read has got the same err from the method groups before, and returns it
	case !enabled:
		return Off, nil
	}
	on, _, err := vars[needsGroup].boolean()
	switch {
	case err != nil:
		return Unknown, err
	case on:
		return On, nil
	}
	return Off, nil
}

// groups adds the values of the variables of the per-login sync to f, if this sync is on. If the
// sync is off, its variables have no effect in ClearML, and f gets remarks that say this.
func (f *Facts) groups(vars map[string]variable) error {
	enabled, given, err := vars[groupsEnabled].boolean()
	if err != nil {
		return err
	}
	if enabled {
		return errors.Join(f.plain(vars, groupsClaim), f.caseSensitive(vars[groupsCase]), f.admins(vars))
	}
	if given {
		f.GroupsOff = vars[groupsEnabled].String()
	}
	for _, name := range []string{groupsClaim, groupsCase, groupsAdmins, needsGroup} {
		if v, given := vars[name]; given {
			f.remark("", "%s has no effect in ClearML unless %s is true, so groupsync derives nothing from it", v, prefix+groupsEnabled)
		}
	}
	return nil
}

func (f *Facts) caseSensitive(v variable) error {
	sensitive, given, err := v.boolean()
	if given {
		f.add(keyOf[groupsCase], sensitive, v)
	}
	return err
}

func (f *Facts) admins(vars map[string]variable) error {
	v, given := vars[groupsAdmins]
	if !given {
		return nil
	}
	// ClearML reads HOCON, which allows more forms of a list than JSON. Every JSON list means
	// the same in HOCON.
	var list []string
	if err := json.Unmarshal([]byte(v.value), &list); err != nil || list == nil {
		return fmt.Errorf(`%s: %q is not a list: write it as JSON, ["clearml-admins"] for example, or [] for none`, v, v.value)
	}
	f.add(keyOf[groupsAdmins], list, v)
	return nil
}

// RealmRole is the prefix in admins.role that marks a realm role. All text after the prefix is
// the name of the role, even if it contains a slash. In an admins.role without the prefix, the
// text before the first slash is the name of a client.
const RealmRole = "realm:"

// role adds the value of admins.role. ClearML compares its variable with the role names in the
// role claim of the token, so a slash in the variable is part of a role's name. In admins.role
// the text before a slash would be a client. So role puts RealmRole before a name with a slash.
func (f *Facts) role(vars map[string]variable) error {
	v, given := vars[adminRole]
	if !given {
		return nil
	}
	text, v, err := v.text()
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	if strings.Contains(text, "/") || strings.HasPrefix(text, RealmRole) {
		text = RealmRole + text
	}
	f.add(keyOf[adminRole], &text, v)
	return nil
}

// Agrees reports whether own and v.Value mean the same. v.Value is ClearML's value for the key
// v.Key, and own is the value of this key in groupsync's own configuration. fullPath is true if
// the groups claim of the login token holds full paths.
func (v Value) Agrees(own any, fullPath bool) bool {
	switch mine := v.Value.(type) {
	case bool:
		return own == mine
	case []string:
		theirs, is := own.([]string)
		return is && sameGroups(mine, theirs, fullPath)
	case *string:
		theirs, is := own.(*string)
		return is && (*theirs == *mine || sameRole(strings.TrimPrefix(*mine, RealmRole), *theirs))
	case string:
		text, is := own.(string)
		if is && v.Key == "keycloak.url" {
			if root, realm, err := SplitURL(text); err == nil && realm == "" {
				text = root
			}
		}
		return is && text == mine
	}
	return false
}

// sameGroups reports whether two lists name the same groups, in any order. This package speaks for
// ClearML: mine is the list in ClearML's variable, and theirs is the list in groupsync's
// configuration. ClearML's list has the names that the groups claim of the token has. If fullPath
// is false, these are leaf names, and a path in groupsync's list means the leaf name at its end.
func sameGroups(mine, theirs []string, fullPath bool) bool {
	same := func(mine, theirs string) bool {
		return theirs == mine || !fullPath && strings.HasPrefix(theirs, "/") && strings.HasSuffix(theirs, "/"+mine)
	}
	for _, m := range mine {
		if !slices.ContainsFunc(theirs, func(t string) bool { return same(m, t) }) {
			return false
		}
	}
	for _, t := range theirs {
		if !slices.ContainsFunc(mine, func(m string) bool { return same(m, t) }) {
			return false
		}
	}
	return true
}

// sameRole reports whether groupsync's admins.role (the parameter theirs) can appear in the role
// claim of the token as the name that ClearML's variable has (the parameter name). The claim does
// not tell which client a role belongs to, so realm:NAME and client/NAME both appear as NAME.
func sameRole(name, theirs string) bool {
	if full, is := strings.CutPrefix(theirs, RealmRole); is {
		return full == name
	}
	return name != "" && strings.HasSuffix(theirs, "/"+name)
}
