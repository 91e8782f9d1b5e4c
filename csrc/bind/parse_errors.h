// What the parser and its messages share.
#pragma once
#include <string>

#include "bind/parse.h"

namespace fl {

// Whether a keyword names the parameter, under its own name or NumPy's.
bool keyword_matches(const std::string& param, const char* given);
// The parameter that a keyword names, or -1.
int find_keyword(const Form& form, PyObject* name);
// The candidate that is spelled most like `word`, or "" where none is near.
std::string closest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace fl
