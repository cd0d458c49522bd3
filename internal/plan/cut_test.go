package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/plan"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// TestCut: the plan has no change that Cut drops. A federated person whose removal is dropped
// is not lost for the guard `fall`. The original plan stays unchanged.
func TestCut(t *testing.T) {
	change := func(user string, action plan.Action, federation string) plan.Change {
		return plan.Change{Group: "g", User: target.User{ID: user}, Action: action, Accounts: []source.User{{ID: "kc-" + user, Federation: federation}}}
	}
	whole := plan.Plan{Groups: []plan.Group{{
		Add: []plan.Change{change("ann", plan.Add, "corp"), change("bob", plan.Add, "")}, Federated: []string{"kc-zoe"},
		Remove: []plan.Change{change("cyn", plan.Remove, "corp"), change("dan", plan.Remove, "corp"), change("eve", plan.Remove, "")},
	}}}
	cut := whole.Cut(func(c plan.Change) bool { return c.User.ID == "bob" || c.User.ID == "dan" })
	var users []string
	for _, c := range append(cut.Groups[0].Add, cut.Groups[0].Remove...) {
		users = append(users, c.User.ID)
	}
	if d := cmp.Diff([]string{"bob", "dan"}, users); d != "" {
		t.Errorf("the changes, -want +got\n%s", d)
	}
	if d := cmp.Diff([]string{"kc-cyn", "kc-zoe"}, cut.Groups[0].Federated); d != "" {
		t.Errorf("the federated members, -want +got\n%s", d)
	}
	if g := whole.Groups[0]; len(g.Add) != 2 || len(g.Remove) != 3 || len(g.Federated) != 1 {
		t.Errorf("the plan that was cut changed: %+v", g)
	}
}
