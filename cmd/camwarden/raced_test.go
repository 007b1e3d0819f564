//go:build race

package main

// raced: this test binary has the race detector.
const raced = true
