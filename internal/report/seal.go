package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The end of a report's JSON, and the end of a sealed report. A sealed report has one more key at
// its end: the SHA-256 of the JSON without that key. The sum detects a report that was cut or
// edited by mistake. The sum is no signature, because anybody who may write the file can also
// compute the sum.
const (
	end     = "\n}\n"
	sumHead = ",\n  \"sha256\": \""
	sumTail = "\"" + end
)

// SealedJSON writes the same as JSON, with the key sha256 at the end. Unseal reads it.
func SealedJSON(w io.Writer, r Report) error {
	var b bytes.Buffer
	if err := JSON(&b, r); err != nil {
		return err
	}
	_, err := w.Write(sealed(b.Bytes()))
	return err
}

// sealed returns an indented JSON object with its sum as the last key.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clone(body[:len(body)-len(end)]), sumHead+hex.EncodeToString(sum[:])+sumTail...)
}

// Unseal returns the report that SealedJSON wrote. It returns an error if the data were cut or
// edited, or are no report. The caller writes the name of the file before the text of the error.
func Unseal(data []byte) (Report, error) {
	rest, closed := bytes.CutSuffix(data, []byte(sumTail))
	at := len(rest) - hex.EncodedLen(sha256.Size)
	if !closed || at < len(sumHead) || string(rest[at-len(sumHead):at]) != sumHead {
		return Report{}, errors.New("was cut or edited: it does not end in its sha256")
	}
	body := append(slices.Clone(rest[:at-len(sumHead)]), end...)
	if !bytes.Equal(sealed(body), data) {
		return Report{}, errors.New("was edited: its sha256 does not match its content")
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("is not a report that this groupsync can read (%w)", err)
	}
	return r, nil
}
