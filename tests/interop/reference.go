// Checks our checkpoints and proofs with the reference implementation, and makes some of its own for us to check.
//
// Standard input: {"key", "note", "leaves": [base64 entries], "inclusion": [...], "consistency": [...]}.
// Standard output: {"ok", "problems", "vkey", "note", "root", "inclusion", "consistency"}.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Index int64    `json:"index"`
	Old   int64    `json:"old"`
	Size  int64    `json:"size"`
	Proof [][]byte `json:"proof"`
}

type request struct {
	Key         string   `json:"key"`
	Note        string   `json:"note"`
	Leaves      [][]byte `json:"leaves"`
	Inclusion   []proof  `json:"inclusion"`
	Consistency []proof  `json:"consistency"`
}

type answer struct {
	Ok          bool     `json:"ok"`
	Problems    []string `json:"problems"`
	Vkey        string   `json:"vkey"`
	Note        string   `json:"note"`
	Inclusion   []proof  `json:"inclusion"`
	Consistency []proof  `json:"consistency"`
}

var hashes []tlog.Hash

type reader struct{}

func (reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = hashes[x]
	}
	return out, nil
}

func main() {
	var in request
	must(json.NewDecoder(os.Stdin).Decode(&in))
	out := answer{Problems: []string{}}
	bad := func(format string, args ...interface{}) {
		out.Problems = append(out.Problems, fmt.Sprintf(format, args...))
	}

	var leaf []tlog.Hash
	for i, data := range in.Leaves {
		made, err := tlog.StoredHashes(int64(i), data, reader{})
		must(err)
		hashes = append(hashes, made...)
		leaf = append(leaf, tlog.RecordHash(data))
	}
	size := int64(len(in.Leaves))
	root := func(n int64) tlog.Hash {
		hash, err := tlog.TreeHash(n, reader{})
		must(err)
		return hash
	}

	// Ours, checked here.
	verifier, err := note.NewVerifier(in.Key)
	must(err)
	opened, err := note.Open([]byte(in.Note), note.VerifierList(verifier))
	if err != nil {
		bad("note: %v", err)
	} else {
		lines := strings.Split(opened.Text, "\n")
		claimed, err := strconv.ParseInt(lines[1], 10, 64)
		must(err)
		hash, err := tlog.ParseHash(lines[2])
		must(err)
		if claimed != size || hash != root(size) {
			bad("checkpoint: size %d, root %v", claimed, hash)
		}
	}
	for _, p := range in.Inclusion {
		if err := tlog.CheckRecord(record(p.Proof), p.Size, root(p.Size), p.Index, leaf[p.Index]); err != nil {
			bad("inclusion %d of %d: %v", p.Index, p.Size, err)
		}
	}
	for _, p := range in.Consistency {
		if err := tlog.CheckTree(tlog.TreeProof(record(p.Proof)), p.Size, root(p.Size), p.Old, root(p.Old)); err != nil {
			bad("consistency %d to %d: %v", p.Old, p.Size, err)
		}
	}

	// Its own, for us to check.
	skey, vkey, err := note.GenerateKey(rand.Reader, "reference.example/log")
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	text := fmt.Sprintf("reference.example/log\n%d\n%s\n", size, base64.StdEncoding.EncodeToString(bytesOf(root(size))))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	must(err)
	out.Vkey, out.Note = vkey, string(bytes.TrimLeft(signed, ""))
	for n := int64(0); n < size; n += 1 + size/17 {
		made, err := tlog.ProveRecord(size, n, reader{})
		must(err)
		out.Inclusion = append(out.Inclusion, proof{Index: n, Size: size, Proof: plain(made)})
		trees, err := tlog.ProveTree(size, n+1, reader{})
		must(err)
		out.Consistency = append(out.Consistency, proof{Old: n + 1, Size: size, Proof: plain(tlog.RecordProof(trees))})
	}
	out.Ok = len(out.Problems) == 0
	must(json.NewEncoder(os.Stdout).Encode(out))
}

func record(proof [][]byte) tlog.RecordProof {
	var out tlog.RecordProof
	for _, data := range proof {
		var hash tlog.Hash
		copy(hash[:], data)
		out = append(out, hash)
	}
	return out
}

func plain(proof tlog.RecordProof) [][]byte {
	out := [][]byte{}
	for _, hash := range proof {
		out = append(out, bytesOf(hash))
	}
	return out
}

func bytesOf(hash tlog.Hash) []byte { return append([]byte(nil), hash[:]...) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
