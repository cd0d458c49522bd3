package review_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/review"
)

// TestNoCellIsAFormula checks the cells of hostile names after reading the CSV with
// encoding/csv, as an importer reads them.
func TestNoCellIsAFormula(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"a plain name", "Ann Lee", "Ann Lee"},
		{"nothing", "", ""},
		{"an equals sign", `=HYPERLINK("http://x.example","y")`, `'=HYPERLINK("http://x.example","y")`},
		{"a plus sign", "+1+1", "'+1+1"},
		{"a minus sign", "-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"},
		{"an at sign", "@SUM(1)", "'@SUM(1)"},
		{"a full-width equals sign", "＝1+1", "'＝1+1"},
		{"a full-width plus sign", "＋1", "'＋1"},
		{"a full-width minus sign", "－1", "'－1"},
		{"a full-width at sign", "＠SUM(1)", "'＠SUM(1)"},
		{"a tab is shown, and begins nothing", "\t=1+1", `\t=1+1`},
		{"a carriage return is shown, and begins nothing", "\r=1+1", `\r=1+1`},
		{"a line break begins no row", "a\r\n=1+1,b", `a\r\n=1+1,b`},
		{"spaces before the sign, which an importer may trim", "  =1+1", "'  =1+1"},
		{"an ideographic space before the sign", "\u3000=1+1", "'\u3000=1+1"},
		{"a direction character before the sign", "\u202e=1+1", `\u202e=1+1`},
		{"a zero-width space before the sign", "\u200b=1+1", `\u200b=1+1`},
		{"a semicolon, at which spreadsheets of many languages split", "x;=1+1; +2;y", "x;'=1+1;' +2;y"},
		{"a quote that would end the cell", `x",=1+1,"`, `x",=1+1,"`},
		{"a quote and a semicolon", `x";=1+1;"`, `x";'=1+1;"`},
		{"a quote before the sign, which an importer that splits at semicolons drops", `x;"=1+1"`, `x;'"=1+1"`},
		{"a sign inside the text", "a=b-c@d", "a=b-c@d"},
		{"an apostrophe of the name itself", "'s Gravenhage", "'s Gravenhage"},
		{"bytes that are no UTF-8", "a\xff", `a\ufffd`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := review.Review{Rows: []review.Row{{
				Name: row.text, Email: row.text, UserID: row.text, Username: row.text, AccountID: row.text, Group: row.text, GroupID: row.text,
				Status: review.Status(row.text), Reason: row.text, By: []string{row.text}, Matched: row.text, Why: row.text, Evidence: row.text, Doubt: row.text, Guard: row.text, Detail: row.text,
			}}}
			var b bytes.Buffer
			if err := review.CSV(&b, r); err != nil {
				t.Fatal(err)
			}
			records, err := csv.NewReader(&b).ReadAll()
			if err != nil || len(records) != 2 {
				t.Fatalf("%d records, %v", len(records), err)
			}
			for i, got := range records[1] {
				if column := records[0][i]; got != row.want && column != "since" {
					t.Errorf("%s: %q, want %q", column, got, row.want)
				}
			}
		})
	}
}

var since = time.Date(2026, 11, 24, 11, 30, 0, 500, time.FixedZone("", 3600))

// sample has a row of every status.
func sample() review.Review {
	r := review.Review{Scope: scope, Statuses: map[review.Status]int{}}
	for _, row := range []review.Row{
		{Name: "Ann Lee", Email: "ann@example.com", UserID: "cm-ann", Username: "ann", AccountID: "0b8c4f0e-7a2e-4a55-9f25-3f0d7c1f6a11", Group: "ml-team", GroupID: "f1d2d2f924e986ac86fdf7b36c94bcdf",
			Status: review.Granted, Reason: "member", By: []string{"/research/ml-team", "/research/visiting scientists of the summer"}, Matched: "id", Why: "ClearML has the group, and so has Keycloak, by /research/ml-team"},
		{Name: "Bot", UserID: "cm-bot", Group: "ml-team", GroupID: "f1d2d2f924e986ac86fdf7b36c94bcdf", Status: review.Kept, Reason: "service_account", By: []string{},
			Why: "stays: this is a service account and no person, so nothing is granted and nothing is removed"},
		{Name: "Fay Moe", Email: "fay@example.com", UserID: "cm-fay", Username: "fay", AccountID: "3e1f4f0e-7a2e-4a55-9f25-3f0d7c1f6a12", Group: "ml-team", GroupID: "f1d2d2f924e986ac86fdf7b36c94bcdf",
			Status: review.Leaves, Reason: "not_member", By: []string{}, Matched: "email", Since: &since, Why: "the guard grace withholds the change; without it a pass removes the person: no account of the person is in a Keycloak group that feeds this one",
			Evidence: "read twice: not in the one Keycloak group", Guard: "grace", Detail: "the evidence for the removal depends on a federation. The removal waits until every pass has wanted it for 4h0m0s"},
		{Name: "Gus Roe", Email: "gus@example.com", UserID: "cm-gus", Group: "operations", GroupID: "0a1b", Status: review.Frozen, Reason: "missing", By: []string{},
			Why: "a source of the group is missing or cannot be read, so groupsync changes nothing in the group", Guard: "missing_source", Detail: `the Keycloak group "opps", named in groups.mapping, does not exist: did you mean "ops"?`},
		{Name: "Hal Doe", Email: "hal@example.com", UserID: "cm-hal", Group: "role admin", GroupID: "role:admin", Status: review.Unmanaged, Reason: "no_source", By: []string{},
			Why: "admins.via is group, so groupsync does not manage ClearML's role admin"},
		{Name: "Zoe Kay", Email: "zoe@example.com", UserID: "cm-zoe", Username: "zoe", AccountID: "5d1f4f0e-7a2e-4a55-9f25-3f0d7c1f6a13", Group: "vision", GroupID: "77aa", Status: review.Joins, Reason: "member", By: []string{"/vision"}, Matched: "id",
			Why: "by the member lists a pass adds the person", Doubt: "the federation corp is not up", Guard: "federation"},
	} {
		r.Rows = append(r.Rows, row)
		r.Statuses[row.Status]++
	}
	return r
}

// TestTheCSV checks the columns, their order and the line ends.
func TestTheCSV(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Rows = []review.Row{r.Rows[0], r.Rows[2]}
	if err := review.CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	want := "name,email,user_id,username,account_id,group,group_id,status,reason,by,matched,since,why,evidence,doubt,guard,detail\r\n" +
		`Ann Lee,ann@example.com,cm-ann,ann,0b8c4f0e-7a2e-4a55-9f25-3f0d7c1f6a11,ml-team,f1d2d2f924e986ac86fdf7b36c94bcdf,granted,member,/research/ml-team; /research/visiting scientists of the summer,id,,"ClearML has the group, and so has Keycloak, by /research/ml-team",,,,` + "\r\n" +
		`Fay Moe,fay@example.com,cm-fay,fay,3e1f4f0e-7a2e-4a55-9f25-3f0d7c1f6a12,ml-team,f1d2d2f924e986ac86fdf7b36c94bcdf,leaves,not_member,,email,2026-11-24T10:30:00Z,the guard grace withholds the change; without it a pass removes the person: no account of the person is in a Keycloak group that feeds this one,read twice: not in the one Keycloak group,,grace,the evidence for the removal depends on a federation. The removal waits until every pass has wanted it for 4h0m0s` + "\r\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestTheJSONHoldsTheWholeReview checks that the object can be read back and that no list is
// null.
func TestTheJSONHoldsTheWholeReview(t *testing.T) {
	r := sample()
	utc := since.UTC()
	r.Rows[2].Since = &utc
	r.Rows[0].Name = hostile
	var b bytes.Buffer
	if err := review.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\r") {
		t.Errorf("a hostile name is not harmless: %q", b.String())
	}
	if rest := strings.NewReplacer(`"at": null`, "", `"since": null`, "").Replace(b.String()); strings.Contains(rest, "null") {
		t.Errorf("a list is null:\n%s", b.String())
	}
	var back review.Review
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("-review +JSON\n%s", d)
	}
}

// TestThePageSaysWhatTheTimeOfARowIs: the time of a removal is the time from which every pass
// has wanted it. The time of a membership is the time at which groupsync added it.
func TestThePageSaysWhatTheTimeOfARowIs(t *testing.T) {
	for _, row := range []struct {
		status review.Status
		want   string
	}{
		{review.Leaves, ">removal wanted since 2026-11-24T10:30:00Z<"},
		{review.Granted, ">added by groupsync at 2026-11-24T10:30:00Z<"},
		{review.Kept, ">added by groupsync at 2026-11-24T10:30:00Z<"},
	} {
		var b bytes.Buffer
		if err := review.HTML(&b, review.Review{Rows: []review.Row{{Status: row.status, Since: &since}}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), row.want) {
			t.Errorf("%s: no %s in\n%s", row.status, row.want, b.String())
		}
	}
}

// full is a writer that always fails.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestAFailedWriteIsAnError checks that every format returns the error of the writer.
// Otherwise somebody could take an incomplete review for a complete one.
func TestAFailedWriteIsAnError(t *testing.T) {
	for name, err := range map[string]error{"csv": review.CSV(full{}, sample()), "json": review.JSON(full{}, sample()), "html": review.HTML(full{}, sample())} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
