package chaos

import "slices"

// Side is one of the two servers.
type Side string

// The sides.
const (
	Keycloak Side = "keycloak"
	ClearML  Side = "clearml"
)

// Kind is a kind of fault.
type Kind string

// The kinds of fault that the wire (type Wire) can cause.
const (
	Refused        Kind = "refused"         // no connection is made
	ResetBefore    Kind = "reset_before"    // the connection breaks before the answer
	ResetIn        Kind = "reset_in"        // the connection breaks in the middle of the body
	ResetAfter     Kind = "reset_after"     // the connection breaks after the last byte of the body
	CutJSON        Kind = "cut_json"        // the body ends before its announced length
	ShortJSON      Kind = "short_json"      // the body has the announced length, and the JSON in it is not complete
	TrailingJSON   Kind = "trailing_json"   // the body has the right JSON, and then an error object
	HTML200        Kind = "html_200"        // an HTML page of a proxy, with the status 200
	NoContent      Kind = "no_content"      // status 204 without a body
	Unauthorized   Kind = "unauthorized"    // 401 in the middle of the pass
	GroupForbidden Kind = "group_forbidden" // 403 for the members of one group
	GroupMissing   Kind = "group_missing"   // 404 for the members of one group
	Page404        Kind = "page_404"        // 404 in HTML
	Conflict       Kind = "conflict"        // 409
	TooMany        Kind = "too_many"        // 429, Retry-After of minutes to hours
	ServerError    Kind = "server_error"    // 500
	NotImplemented Kind = "not_implemented" // 501
	BadGateway     Kind = "bad_gateway"     // 502
	Unavailable    Kind = "unavailable"     // 503, sometimes with Retry-After
	GatewayTimeout Kind = "gateway_timeout" // 504
	SlowDrip       Kind = "slow_drip"       // the body comes in pieces, seconds apart
	Timeout        Kind = "timeout"         // no answer at all

	Empty        Kind = "empty"         // an empty list with the status 200
	ShortList    Kind = "short_list"    // a list without some of its entries
	ShortMembers Kind = "short_members" // a user group of ClearML without some of its members
	ShiftedPage  Kind = "shifted_page"  // a page of ClearML's users that lacks one user
	TwicePage    Kind = "twice_page"    // a page of ClearML's users that has one user twice

	WriteDone500   Kind = "write_done_500"   // a write is done, and the answer is an error
	WriteNot200    Kind = "write_not_200"    // a write is not done, and the answer is 200
	WriteTwice     Kind = "write_twice"      // a write is done a second time, seconds later
	WriteLate      Kind = "write_late"       // a write is done minutes after its answer failed
	WriteDoneReset Kind = "write_done_reset" // a write is done, and the connection breaks
)

// Kinds lists every kind.
var Kinds = []Kind{
	Empty, ShortList, ShortMembers, ShiftedPage, TwicePage, // these false answers come first: draw uses the first kind that hits a request, so other faults would hide them
	WriteDone500, WriteNot200, WriteTwice, WriteLate, WriteDoneReset,
	Refused, ResetBefore, ResetIn, ResetAfter, CutJSON, ShortJSON, TrailingJSON, HTML200, NoContent, Unauthorized, GroupForbidden, GroupMissing,
	Page404, Conflict, TooMany, ServerError, NotImplemented, BadGateway, Unavailable, GatewayTimeout, SlowDrip, Timeout,
}

// The method of reports whether the fault can happen on the side s.
func (k Kind) of(s Side) bool {
	switch k {
	case Empty, ShortList, GroupForbidden, GroupMissing:
		return s == Keycloak
	case ShortMembers, ShiftedPage, TwicePage, WriteDone500, WriteNot200, WriteTwice, WriteLate, WriteDoneReset:
		return s == ClearML
	}
	return true
}

// lies reports whether an answer with this fault is false but looks complete and right.
func (k Kind) lies() bool {
	return slices.Contains([]Kind{Empty, ShortList, ShortMembers, ShiftedPage, TwicePage}, k)
}
