package plan

import (
	"slices"

	"groupsync/internal/source"
)

// Restoring returns the plan with the given changes instead of its own. The keys of changes
// are the ids of the user groups. The changes undo those of an earlier pass, and the evidence
// of each is the report of that pass. Everything else that the guards need of the groups
// stays.
func (p Plan) Restoring(changes map[string][]Change) Plan {
	p.Groups = slices.Clone(p.Groups)
	for i := range p.Groups {
		g := &p.Groups[i]
		g.Add, g.Remove, g.Own = nil, nil, OwnView{}
		for _, c := range changes[g.Feed.Group.ID] {
			c.Group, c.Why = g.Feed.Group.ID, source.Restored
			if c.Grant() {
				g.Add = append(g.Add, c)
			} else {
				g.Remove = append(g.Remove, c)
			}
		}
		slices.SortFunc(g.Add, compareChanges)
		slices.SortFunc(g.Remove, compareChanges)
		if g.Feed.Admins {
			g.Floor = g.floor(p.People, p.CannotSignIn)
		}
	}
	return p
}
