package plan

import (
	"slices"

	"groupsync/internal/source"
)

// Restoring returns the plan with the given changes instead of its own. The keys of changes
// are ids of user groups. The changes undo those of an earlier pass, and their evidence is the
// report of that pass. OwnView is emptied, because it is about the plan's own changes. Floor is
// computed again from the new changes. All other fields stay, because the guards need them.
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
