/* returners: members who leave together, come back together, and try again where they are turned away. */
#pragma once
#include <stdbool.h>

void returners_leave(void);
bool returners_come_back(void);     /* some of those whose time has come; returns whether there are more */
bool returners_are_level(void);     /* all of them, but for those who were lost after that */
unsigned long returners_retries(void);
