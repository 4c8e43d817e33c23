// Package filesink keeps records in a file, one line of [stream.AppendLine] each.
//
// A name that ends with .gz or .zst makes the file a compressed one. It is a sequence of gzip members or zstd frames of
// [memberBytes] of lines each, the last one shorter: every tool that reads one reads the sequence. Members begin and end
// where the records alone say, so that the file of a run that was killed and resumed any number of times is, byte for
// byte, that of a run that wasn't.
//
// The package doesn't read files, doesn't choose records, and doesn't keep state: a [File] says where it is, and whoever
// runs it remembers that.
package filesink
