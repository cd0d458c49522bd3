package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// headline returns one line: the result of the pass, the changes that the pass would make or made,
// and the numbers of withheld changes, of people who wait for their first login, and of errors.
func (r Report) headline() string {
	mode := r.Mode
	if mode == "observe" {
		mode = "dry run"
	}
	parts := []string{r.outlook()}
	if s := sumsOf(r.Groups); s.withheld > 0 {
		parts = append(parts, fmt.Sprintf("%d withheld", s.withheld))
	}
	if n := r.Users["pending"]; n > 0 {
		parts = append(parts, Counted(n, "person waits", "people wait")+" for the first login")
	}
	if n := len(r.Errors); n > 0 {
		parts = append(parts, Counted(n, "error", "errors"))
	}
	return fmt.Sprintf("%s (%s): %s", r.Result, mode, strings.Join(parts, "; "))
}

// outlook returns numbers of changes. For a dry run, these are the changes that the plan proposes.
// For a pass that may write, these are the changes that the pass made, and those that are left.
func (r Report) outlook() string {
	add, remove := r.Drift()
	left := fmt.Sprintf("%d to add, %d to remove", add, remove)
	drifting := 0
	for _, g := range r.Groups {
		a, m := g.Drift()
		drifting += b2i(a+m > 0)
	}
	if drifting > 0 {
		left += fmt.Sprintf(" in %d of %s", drifting, Counted(len(r.Groups), "group", "groups"))
	}
	switch {
	case r.Result == Error && r.Applied == Tally{}:
		return "the pass ended early, and nothing was written"
	case r.Result == Error:
		return fmt.Sprintf("the pass ended early, after %s", r.Applied)
	case r.Mode == "observe":
		return left
	default:
		return fmt.Sprintf("%s; drift left: %s", r.Applied, left)
	}
}

func (t Tally) String() string {
	return fmt.Sprintf("%d added, %d removed, %d failed", t.Added, t.Removed, t.Failed)
}

func (c Counts) String() string {
	return fmt.Sprintf("%d groups, %d users, %d memberships", c.Groups, c.Users, c.Memberships)
}

// readings returns the size of Keycloak and of ClearML as the pass read them. It returns an empty
// text if the pass ended before it had a plan.
func (r Report) readings() string {
	if r.Result == Error {
		return ""
	}
	return fmt.Sprintf("read: keycloak %s; clearml %s", r.Source, r.Target)
}

// hold is one guard of a pass with the changes that it withholds.
type hold struct {
	guard   Guard
	changes int // number of changes that the guard withholds
	groups  int // number of user groups with such changes
	trips   []Trip
}

// holds returns the guards that tripped or withheld something, in the order of Rules. It lists
// equal trips once, because two parts of a pass can report the same trip. In each hold, trips that
// are not about one group come first.
func holds(r Report) []hold {
	byGuard, order := make(map[Guard]*hold), slices.Clone(Guards)
	of := func(g Guard) *hold {
		if byGuard[g] == nil {
			byGuard[g] = &hold{guard: g}
		}
		if !slices.Contains(order, g) { // an unknown guard: a later version made the JSON
			order = append(order, g)
		}
		return byGuard[g]
	}
	for _, g := range r.Groups {
		here := make(map[Guard]bool)
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if c.Guard == "" {
				continue
			}
			of(c.Guard).changes++
			if !here[c.Guard] {
				of(c.Guard).groups++
			}
			here[c.Guard] = true
		}
	}
	for _, t := range r.Guards {
		h := of(t.Guard)
		same := func(x Trip) bool { return x.Group == t.Group && x.Detail == t.Detail }
		if !slices.ContainsFunc(h.trips, same) {
			h.trips = append(h.trips, t)
		}
	}
	var list []hold
	for _, g := range order {
		if h := byGuard[g]; h != nil {
			slices.SortStableFunc(h.trips, func(a, b Trip) int { return b2i(a.Group != "") - b2i(b.Group != "") })
			list = append(list, *h)
		}
	}
	return list
}

// String returns one line: how many changes the guard withholds in how many groups, and whether
// an approval lifts the guard.
func (h hold) String() string {
	if h.changes == 0 {
		return fmt.Sprintf("guard %s: no change withheld", h.guard)
	}
	lifted := "no approval lifts it"
	if slices.ContainsFunc(h.trips, Trip.liftable) {
		lifted = "an approval lifts it"
	}
	return fmt.Sprintf("guard %s: %s withheld in %s; %s", h.guard, Counted(h.changes, "change", "changes"), Counted(h.groups, "group", "groups"), lifted)
}

// String returns the detail of the trip. If the trip is about one user group, the group's name
// comes first.
func (t Trip) String() string {
	if t.Group == "" {
		return t.Detail
	}
	return name(t.Group) + ": " + t.Detail
}

func (t Trip) liftable() bool { return t.Override != "" }

// The limits for the sentences of one guard. Each trip of the guard is one sentence. A report shows
// up to tripsShown sentences. If a guard has more, the report shows the first tripsFirst, and all
// later ones that are not about one group. For the sentences that it leaves out, it shows only the
// names of their groups. A full report shows all.
const (
	tripsShown = 20
	tripsFirst = 3
)

// sentences returns the sentences of the guard that the report shows. others are the names of the
// user groups whose sentences the report leaves out.
func (h hold) sentences(full bool) (sentences, others []string) {
	folded := !full && len(h.trips) > tripsShown
	for i, t := range h.trips {
		switch {
		case !folded || i < tripsFirst || t.Group == "":
			sentences = append(sentences, t.String())
		case !slices.Contains(others, t.Group):
			others = append(others, t.Group)
		}
	}
	return sentences, others
}

// approving returns the command that approves the withheld changes. It returns an empty text if an
// approval would lift no guard.
func (r Report) approving() string {
	if r.Digest == "" || !slices.ContainsFunc(r.Guards, Trip.liftable) {
		return ""
	}
	switch {
	case r.Restores != "":
		return "groupsync restore " + shellWord(r.Restores) + " --apply --approve " + r.Digest
	case r.Person != "":
		return "groupsync sync " + shellWord(r.Person) + " --apply --approve " + r.Digest
	}
	return "groupsync --once --apply --approve " + r.Digest
}

// shellWord returns the text as one word of a POSIX shell. It quotes the text only if the shell
// needs quotes, because a plain id is easier to read.
func shellWord(text string) string {
	plain := func(c rune) bool {
		return c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("-_.@:", c))
	}
	if text != "" && !strings.ContainsFunc(text, func(c rune) bool { return !plain(c) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// String returns one sentence: who approved what, when, and with what result.
func (a Approval) String() string {
	head := fmt.Sprintf("approval of %s by %s at %s: ", a.Digest, name(a.By), a.At.UTC().Format(time.RFC3339))
	if !a.Granted {
		return head + "refused: " + a.Detail
	}
	return head + fmt.Sprintf("granted: lifted %s for %s", a.LiftedNames(), Counted(a.Changes, "change", "changes"))
}

// LiftedNames returns the names of the guards that the approval lifted.
func (a Approval) LiftedNames() string {
	if len(a.Lifted) == 0 {
		return "no guard"
	}
	guards := make([]string, len(a.Lifted))
	for i, g := range a.Lifted {
		guards[i] = string(g)
	}
	return strings.Join(guards, ", ")
}

// Counted returns a number with its noun, in the singular if n is 1.
func Counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// errorLines returns one line for each error of the pass, in the order of the report.
func errorLines(r Report) (lines []string) {
	for _, f := range r.Errors {
		lines = append(lines, "error: "+f.Text)
	}
	return lines
}

// cutLines returns the first listShown lines. If there are more, it adds one line with the number
// of the cut lines, and with what (a noun for the lines). If full is set, it returns all lines.
func cutLines(lines []string, full bool, what string) []string {
	if more := len(lines) - listShown; !full && more > 0 {
		return append(slices.Clone(lines[:listShown]), fmt.Sprintf("… %d more %s", more, what))
	}
	return lines
}

// differences returns a line for each group whose member list in Keycloak differs from the own
// side of the people. A login reads the own side. For each group for which Keycloak's user cache
// may be out of date, differences adds another line.
func differences(r Report) (lines []string) {
	for _, g := range r.Groups {
		var differs []string
		if n := g.OwnView.Hides; n > 0 {
			differs = append(differs, fmt.Sprintf("hides %d of its members", n))
		}
		if n := g.OwnView.Shows; n > 0 {
			differs = append(differs, "shows "+Counted(n, "person who is not a member", "people who are not members"))
		}
		if len(differs) > 0 {
			lines = append(lines, fmt.Sprintf("member list of %s: Keycloak's list %s. The own side of these people is right, because a login reads the own side. groupsync changes nothing because of this difference.",
				name(g.Name), strings.Join(differs, " and ")))
		}
		if g.OwnView.Stale {
			lines = append(lines, fmt.Sprintf("user cache for %s: Keycloak's user cache may be older than Keycloak's database. If it is, a login follows the old entry until the cache is refreshed. To refresh it, clear the user cache in Keycloak. For people of a federation, a periodic sync of changed users does the same each time it runs.", name(g.Name)))
		}
	}
	return lines
}

// notice is one reason to skip groups, or one remark, with the names that it is about.
type notice struct {
	remark    bool
	side, why string
	names     []string
}

// notices collects the skips that have the same side and reason. The remarks come last.
func notices(skips []Skip) (list []notice) {
	for _, s := range skips {
		i := slices.IndexFunc(list, func(n notice) bool { return n.side == s.Side && n.why == s.Why })
		if i < 0 {
			i = len(list)
			list = append(list, notice{remark: !slices.Contains(SkipStates, s.Why), side: s.Side, why: s.Why})
		}
		list[i].names = append(list[i].names, s.Name)
	}
	slices.SortStableFunc(list, func(a, b notice) int { return b2i(a.remark) - b2i(b.remark) })
	return list
}

// kind returns "remark" or "left alone".
func (n notice) kind() string {
	if n.remark {
		return "remark"
	}
	return "left alone"
}

// shown returns the names in one text, each as the function show writes it. Unless full is set, it
// returns only the first listShown names and the number of the other names. A realm can have
// thousands of groups that ClearML lacks.
func (n notice) shown(full bool, show func(string) string) string {
	list, more := n.names, ""
	if !full && len(list) > listShown {
		list, more = list[:listShown], fmt.Sprintf(" and %d more", len(list)-listShown)
	}
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = show(s)
	}
	return strings.Join(shown, ", ") + more
}
