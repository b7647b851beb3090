/* What _exchange.c works on: the slots of the Python classes, what `bind` was given, and cells in the memory of a segment. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifndef SOURCE_DIGEST
#define SOURCE_DIGEST "unknown" /* compile_exchange.py says which source this is */
#endif

enum { CELLS, COUNTS, ENDED_NS, ERROR, HEADERS, ASKED_PATH, KNOWN_KEPT, KNOWN_ROUTE, RECEIVE, SCOPE, SEND, SENT, SPAN, STARTED_NS, STATUS,
       TRACE_ID_DRAWN, N_SLOTS };
static const char *const SLOTS[N_SLOTS] = {"cells", "counts", "ended_ns", "error", "headers", "asked_path", "known_kept", "known_route",
                                           "receive", "scope", "send", "sent", "span", "started_ns", "status", "trace_id_drawn"};
enum { ACTIVE, BY_ROUTE, HAS_BODIES, LOOK_NS, N_OF_COUNTS };
static const char *const OF_COUNTS[N_OF_COUNTS] = {"active", "by_route", "has_bodies", "look_ns"};
enum { HOOKS_START, HOOKS_END, HOOKS_SPARE, N_OF_HOOKS };
static const char *const OF_HOOKS[N_OF_HOOKS] = {"start", "end", "spare"};

#define MAX_BOUNDS 64
typedef struct {
    Py_ssize_t n;
    double at[MAX_BOUNDS];
} Bounds;

typedef struct {
    PyTypeObject *exchange, *counts;
    Py_ssize_t slot[N_SLOTS], of_counts[N_OF_COUNTS], of_hooks[N_OF_HOOKS];
    PyObject *hooks, *done, *gone, *seen, *tell, *now, *draw, *modules, *sending, *done_in_python, *receive_no_more, *send_no_more;
    PyObject *zero, *nothing, *no_text, *draw_bits;
    Bounds seconds, bytes;
} State;

#define HELD(state) \
    {(PyObject **)&(state)->exchange, (PyObject **)&(state)->counts, &(state)->hooks, &(state)->done, &(state)->gone, &(state)->seen, \
     &(state)->tell, &(state)->now, &(state)->draw, &(state)->modules, &(state)->sending, &(state)->done_in_python, \
     &(state)->receive_no_more, &(state)->send_no_more, &(state)->zero, &(state)->nothing, &(state)->no_text, &(state)->draw_bits}

static PyObject *TYPE, *START, *BODY, *MORE_BODY, *STATUS_KEY, *BODY_KEY, *ROUTE, *PATH_TEMPLATE, *DJANGO, *FASTAPI, *EFFECTIVE, *ROOT_PATH,
    *SCHEME, *METHOD, *PATH, *HEADERS_KEY, *HEADED, *LEFT, *EXEMPLIFY, *DRAW_ID;
static const struct { PyObject **place; const char *text; } TEXTS[] = {
    {&TYPE, "type"}, {&START, "http.response.start"}, {&BODY, "http.response.body"}, {&MORE_BODY, "more_body"}, {&STATUS_KEY, "status"},
    {&BODY_KEY, "body"}, {&ROUTE, "route"}, {&PATH_TEMPLATE, "path_template"}, {&DJANGO, "django.urls"}, {&FASTAPI, "fastapi"},
    {&EFFECTIVE, "effective_route_context"}, {&ROOT_PATH, "app_root_path"}, {&SCHEME, "scheme"}, {&METHOD, "method"}, {&PATH, "path"},
    {&HEADERS_KEY, "headers"}, {&HEADED, "headed"}, {&LEFT, "left"}, {&EXEMPLIFY, "_exemplify"}, {&DRAW_ID, "draw_id"},
};

#define FIELD(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define OF(exchange, name) FIELD(exchange, state->slot[name])
#define OF_THE_COUNTS(counts, name) FIELD(counts, state->of_counts[name])
#define OF_THE_HOOKS(name) FIELD(state->hooks, state->of_hooks[name])

/* Takes over the reference. */
static void put(PyObject **place, PyObject *value) {
    PyObject *old = *place;
    *place = value;
    Py_XDECREF(old);
}

static int is_text(PyObject *found, PyObject *wanted) {
    return found == wanted || (PyUnicode_Check(found) && PyUnicode_Compare(found, wanted) == 0);
}

/* The value, borrowed; NULL where there is none, and with an error where the key cannot be one. */
static PyObject *get(PyObject *mapping, PyObject *key) {
    return mapping != NULL && key != NULL && PyDict_Check(mapping) ? PyDict_GetItemWithError(mapping, key) : NULL;
}

/* --- cells: memory of a segment, seen through a memoryview --------------------------------------------------------------------- */

static Py_buffer *buffer_of(PyObject *view, char format, Py_ssize_t at) {
    if (!PyMemoryView_Check(view))
        return NULL;
    PyMemoryViewObject *known = (PyMemoryViewObject *)view;
    if ((known->flags & _Py_MEMORYVIEW_RELEASED) || (known->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED))
        return NULL;
    Py_buffer *buffer = PyMemoryView_GET_BUFFER(view);
    if (buffer->itemsize != 8 || buffer->readonly || buffer->format == NULL || buffer->format[0] != format || at >= buffer->len / 8)
        return NULL;
    return buffer;
}

static Py_ssize_t bucket(const Bounds *bounds, double value) {  /* bisect_left */
    Py_ssize_t at = 0;
    while (at < bounds->n && bounds->at[at] < value)
        at++;
    return at;
}

/* --- no misuse ends the process ------------------------------------------------------------------------------------------------- */

static int is_called(State *state, Py_ssize_t n, Py_ssize_t expected, const char *name) {
    if (state->exchange == NULL)
        PyErr_SetString(PyExc_RuntimeError, "`bind` comes first");
    else if (n != expected)
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, expected, n);
    return !PyErr_Occurred();
}

static int is_exchange(State *state, PyObject *const *args, Py_ssize_t n, Py_ssize_t expected, const char *name) {
    if (!is_called(state, n, expected, name))
        return 0;
    if (PyObject_TypeCheck(args[0], state->exchange))
        return 1;
    PyErr_Format(PyExc_TypeError, "%s is of an Exchange", name);
    return 0;
}
