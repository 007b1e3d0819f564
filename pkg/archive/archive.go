// Package archive says how the files of stills are named below a folder, and removes those that need not be kept.
package archive
