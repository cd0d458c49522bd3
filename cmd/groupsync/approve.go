package main

import (
	"fmt"
	"os"
	osuser "os/user"
)

// osUser returns the name of the operating system user that runs this process. An approval and
// a suspension record the name as the person who gave them.
func osUser() string {
	u, err := osuser.Current()
	if err != nil || u.Username == "" {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return u.Username
}
