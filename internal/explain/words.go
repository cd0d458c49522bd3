package explain

import (
	"groupsync/internal/match"
)

// The states of an account for which ClearML has no user that could be the same person.
// match.Pending and match.ServiceAccount are two more such states.
const (
	disabled  = "disabled"
	inDoubt   = "in_doubt"
	noAccount = "no_account"
)

// maybeDisabled explains why groupsync cannot tell whether an account is disabled. While an LDAP
// server is not reachable, Keycloak shows all of its people as disabled
// (reference/keycloak-traps.md).
const maybeDisabled = "Keycloak shows the account as disabled, but its federation is away, and then Keycloak shows enabled accounts as disabled too"

// meanings describes each state of a person in a sentence.
var meanings = map[string]string{
	string(match.Matched):        "exactly one Keycloak account is this person",
	string(match.GoneNow):        "the person signed in through Keycloak, which has no account of the person any more",
	string(match.Rekeyed):        "ClearML keeps an id that Keycloak no longer has, and another account has the email; groupsync grants nothing until the next login corrects the id",
	string(match.Ambiguous):      "several accounts could be this person, or several ClearML users could be the account; nothing is granted, and a removal needs every account to be out",
	string(match.Local):          "the person never signed in through a provider, so nothing is granted and nothing is removed",
	string(match.OtherProvider):  "the person signs in by another provider than clearml.provider, so nothing is granted and nothing is removed",
	string(match.Unknown):        "ClearML returns no sign-in provider, or neither an email nor an id, so nothing is granted and nothing is removed",
	string(match.ServiceAccount): "this is a service account and no person, so nothing is granted and nothing is removed",
	string(match.Protected):      "users.protect names the person, so nothing is removed",
	string(match.Unresolved):     "ClearML's list of users lacks this member, so nothing is removed",
	string(match.Renamed):        "Keycloak no longer has the email, and a pending member of the group has the same name; this is probably the same person with a new email, so nothing is removed",
	string(match.GoneKept):       "Keycloak no longer has the person, and users.gone is keep, so nothing is removed",
	string(match.Self):           "groupsync itself runs as this user, so nothing is removed",
	string(match.Pending):        "the account is in a group that feeds a ClearML group, and no ClearML user is this person; groupsync can add the person after the first login to ClearML",
	string(match.NotAsked):       "no Keycloak account was found, and groupsync could not look up every possible account",
	disabled:                     "the account is disabled, and no ClearML user could be this person",
	inDoubt:                      maybeDisabled + ", and no ClearML user could be this person",
	noAccount:                    "no ClearML user could be this person, and the account is in no Keycloak group that feeds a ClearML group",
}

// unfed returns a sentence that says why nothing feeds a ClearML group. why is a value of
// Group.Unfed. For any other value unfed returns an empty text.
func unfed(why string) string { return unfedReasons[why] }

var unfedReasons = map[string]string{
	match.NoSource:      "no Keycloak group feeds this ClearML group",
	match.Builtin:       "ClearML has the group built in, and groupsync never writes it",
	match.NotAssignable: "ClearML lets nobody be assigned to the group",
	match.Duplicate:     "several ClearML groups have this name, so none of them is written",
}
