/* What every request does, of asgi_exchange.py, once more: the usual case, and nothing else.
 *
 * In a server a request finds none of our code in the processor's caches, so it pays for each instruction of the interpreter several
 * times over: docs/decisions/0014-the-usual-request-in-c.md. Whatever is unusual goes to the Python of the same name, which is complete and
 * which all of this falls back to; asgi_compiled.py puts these functions in the place of Python's. No state but what `bind` was given:
 * the fields of an exchange stay the slots of the Python class, read where its descriptors say that they are.
 */

#include "_exchange.h"

/* --- a request begins ------------------------------------------------------------------------------------------------------------ */

static PyObject *started(State *state, PyObject *type, PyObject *counts, PyObject *scope, PyObject *receive, PyObject *send) {
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, state->exchange) || !Py_IS_TYPE(counts, state->counts)) {
        PyErr_SetString(PyExc_TypeError, "a kind of Exchange and its Counts are wanted");
        return NULL;
    }
    PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    if (made == NULL)
        return NULL;
    static const int unknown[] = {STATUS, ENDED_NS, ERROR, SPAN, KNOWN_ROUTE, KNOWN_KEPT};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(unknown); i++)
        OF(made, unknown[i]) = Py_NewRef(Py_None);
    OF(made, COUNTS) = Py_NewRef(counts);
    OF(made, SCOPE) = Py_NewRef(scope);
    OF(made, RECEIVE) = Py_NewRef(receive);
    OF(made, SEND) = Py_NewRef(send);
    OF(made, CELLS) = Py_XNewRef(OF_THE_COUNTS(counts, BY_ROUTE));
    OF(made, SENT) = Py_NewRef(state->zero);
    OF(made, TRACE_ID_DRAWN) = Py_NewRef(state->zero);
    if ((OF(made, STARTED_NS) = PyObject_CallNoArgs(state->now)) == NULL)
        goto failed;
    if (OF_THE_COUNTS(counts, HAS_BODIES) == Py_True) {
        PyObject *nothing = PyObject_CallMethodNoArgs(made, HEADED);
        if (nothing == NULL)
            goto failed;
        Py_DECREF(nothing);
    }
    Py_buffer *active = buffer_of(OF_THE_COUNTS(counts, ACTIVE), 'd', 0);
    if (active == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "there is no cell for requests under way");
        goto failed;
    }
    *(double *)active->buf += 1;
    PyObject *hooks = OF_THE_HOOKS(HOOKS_START);
    if (hooks != NULL && PyTuple_Check(hooks) && PyTuple_GET_SIZE(hooks)) {
        PyObject *nothing = PyObject_CallFunctionObjArgs(state->tell, hooks, made, NULL);
        if (nothing == NULL)
            goto failed;
        Py_DECREF(nothing);
    }
    if (PyObject_SetItem(scope, state->seen, Py_True) < 0)
        goto failed;
    return made;
failed:
    Py_DECREF(made);
    return NULL;
}

static PyObject *start(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    State *state = PyModule_GetState(module);
    return is_called(state, n, 5, "start") ? started(state, args[0], args[1], args[2], args[3], args[4]) : NULL;
}

static PyObject *begin(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    State *state = PyModule_GetState(module);
    if (!is_called(state, n, 7, "begin"))
        return NULL;
    PyObject *lanes = args[1], *lane = args[2], *scope = args[3], *aside = args[6];
    PyObject *counts = get(get(get(lanes, lane), get(scope, SCHEME)), get(scope, METHOD));
    if (counts == NULL)
        goto unusual;
    int seen = PyDict_Contains(scope, state->seen);
    if (seen == 0 && aside != Py_None) {
        PyObject *path = get(scope, PATH);
        seen = path == NULL ? 1 : PyObject_RichCompareBool(path, aside, Py_EQ);
    }
    if (seen)
        goto unusual;
    Py_INCREF(counts);
    PyObject *made = started(state, args[0], counts, scope, args[4], args[5]);
    Py_DECREF(counts);
    return made;
unusual:
    PyErr_Clear();  /* Python looks again, and says what is wrong */
    Py_RETURN_NONE;
}

/* --- it is answered -------------------------------------------------------------------------------------------------------------- */

/* Could there be a trace context among the headers? Only what is of the usual types is searched. */
static int may_have_parent(PyObject *scope) {
    PyObject *headers = get(scope, HEADERS_KEY);
    if (headers == NULL || !PyList_Check(headers))
        return !PyDict_Check(scope) || headers != NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(headers); i++) {
        PyObject *pair = PyList_GET_ITEM(headers, i);
        PyObject *name = PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 ? PyTuple_GET_ITEM(pair, 0)
                         : PyList_Check(pair) && PyList_GET_SIZE(pair) == 2 ? PyList_GET_ITEM(pair, 0) : NULL;
        if (name == NULL || !PyBytes_Check(name))
            return 1;
        if (PyBytes_GET_SIZE(name) == 11 && memcmp(PyBytes_AS_STRING(name), "traceparent", 11) == 0)
            return 1;
    }
    return 0;
}

/* Is it certain that tracing wants nothing of this request, of which nobody has asked anything? -1: an error. */
static int is_spared(State *state, PyObject *exchange, PyObject *hooks, int64_t took_ns, long status) {
    PyObject *spare = OF_THE_HOOKS(HOOKS_SPARE);
    if (spare == NULL || !PyTuple_Check(spare) || PyTuple_GET_SIZE(spare) != 3 || PyTuple_GET_SIZE(hooks) != 1
        || PyTuple_GET_ITEM(spare, 0) != PyTuple_GET_ITEM(hooks, 0))
        return 0;
    if (OF(exchange, SPAN) != Py_None || OF(exchange, ERROR) != Py_None || OF(exchange, TRACE_ID_DRAWN) != state->zero || status >= 500)
        return 0;
    int overflow;
    long long slow_ns = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(spare, 1), &overflow);
    if (slow_ns == -1 && !overflow && PyErr_Occurred())
        return -1;
    if (overflow < 0 || (overflow == 0 && took_ns >= slow_ns))
        return 0;
    if (may_have_parent(OF(exchange, SCOPE)))
        return 0;
    /* Held: `spare` is another one every second. */
    PyObject *below = Py_NewRef(PyTuple_GET_ITEM(spare, 2)), *low = PyObject_CallOneArg(state->draw, state->draw_bits);
    int chosen = low == NULL ? -1 : PyObject_RichCompareBool(low, below, Py_LT);
    Py_DECREF(below);
    if (chosen > 0) {
        PyObject *nothing = PyObject_CallMethodOneArg(exchange, DRAW_ID, low);
        chosen = nothing == NULL ? -1 : 1;
        Py_XDECREF(nothing);
    }
    Py_XDECREF(low);
    return chosen < 0 ? -1 : !chosen;
}

/* Where requests of this route and status are counted, borrowed; NULL where it takes Python to tell. */
static PyObject *known_cells(State *state, PyObject *cells, PyObject *scope, PyObject *status) {
    PyObject *route = get(scope, ROUTE), *own = get(scope, FASTAPI);
    if (own != NULL) {
        PyObject *effective = get(own, EFFECTIVE);
        int is_there = effective == NULL ? 0 : PyObject_IsTrue(effective);
        if (is_there < 0)
            return NULL;
        if (is_there)
            route = effective;
    }
    else if (route == NULL && (PyDict_Contains(scope, PATH_TEMPLATE) || PyDict_Contains(state->modules, DJANGO)))
        return NULL;
    if (PyDict_Contains(scope, ROOT_PATH))
        return NULL;
    PyObject *id = PyLong_FromVoidPtr(route == NULL ? Py_None : route);
    PyObject *key = id == NULL ? NULL : PyTuple_Pack(2, id, status);
    PyObject *found = key == NULL ? NULL : PyDict_GetItemWithError(cells, key);
    Py_XDECREF(id);
    Py_XDECREF(key);
    return found;
}

/* 1: counted; 0: something is unusual, and nothing was done; -1: an error. */
static int count(State *state, PyObject *exchange, PyObject *message) {
    PyObject *cells = OF(exchange, CELLS), *scope = OF(exchange, SCOPE), *status = OF(exchange, STATUS);
    if (cells == NULL || !PyDict_CheckExact(cells) || cells == state->done || scope == NULL || !PyDict_Check(scope) || status == NULL
        || !PyLong_Check(status) || OF(exchange, COUNTS) == NULL)
        return 0;
    PyObject *more = get(message, MORE_BODY);
    if (more != NULL && more != Py_False)
        return 0;
    PyObject *body = get(message, BODY_KEY);
    if (body != NULL && !PyBytes_Check(body))
        return 0;
    PyObject *known = known_cells(state, cells, scope, status);
    if (known == NULL || !PyTuple_Check(known) || PyTuple_GET_SIZE(known) != 3 || !PyTuple_Check(PyTuple_GET_ITEM(known, 0))
        || PyTuple_GET_SIZE(PyTuple_GET_ITEM(known, 0)) != 6)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *const *views = &PyTuple_GET_ITEM(PyTuple_GET_ITEM(known, 0), 0);
    Py_buffer *durations = buffer_of(views[0], 'q', state->seconds.n), *duration_sum = buffer_of(views[1], 'd', state->seconds.n + 1);
    Py_buffer *sizes = buffer_of(views[2], 'q', state->bytes.n), *size_sum = buffer_of(views[3], 'd', state->bytes.n + 1);
    Py_buffer *active = buffer_of(views[4], 'd', 0);
    if (!durations || !duration_sum || !sizes || !size_sum || !active)
        return 0;

    Py_ssize_t sent = body == NULL ? 0 : PyBytes_GET_SIZE(body);
    PyObject *of_sent = PyLong_FromSsize_t(sent), *ended = PyObject_CallNoArgs(state->now);
    if (of_sent == NULL || ended == NULL) {
        Py_XDECREF(of_sent);
        Py_XDECREF(ended);
        return -1;
    }
    Py_INCREF(known);  /* and with it the views: a hook may make the dictionary forget it */
    put(&OF(exchange, CELLS), Py_NewRef(state->done));
    put(&OF(exchange, SENT), of_sent);
    put(&OF(exchange, KNOWN_ROUTE), Py_NewRef(PyTuple_GET_ITEM(known, 1)));
    put(&OF(exchange, ENDED_NS), ended);
    int64_t ended_ns = PyLong_AsLongLong(ended), took_ns = ended_ns - PyLong_AsLongLong(OF(exchange, STARTED_NS));
    int result = PyErr_Occurred() ? -1 : 1;
    PyObject *hooks = OF_THE_HOOKS(HOOKS_END);
    if (result > 0 && PyTuple_Check(hooks) && PyTuple_GET_SIZE(hooks)) {
        int spared = is_spared(state, exchange, hooks, took_ns, PyLong_AsLong(status));
        if (spared == 0) {
            PyObject *nothing = PyObject_CallFunctionObjArgs(state->tell, hooks, exchange, NULL);
            spared = nothing == NULL ? -1 : 1;
            Py_XDECREF(nothing);
        }
        result = spared < 0 ? -1 : 1;
    }
    if (result > 0) {
        double seconds = took_ns / 1e9;
        ((int64_t *)durations->buf)[bucket(&state->seconds, seconds)] += 1;
        ((double *)duration_sum->buf)[state->seconds.n + 1] += seconds;
        ((int64_t *)sizes->buf)[bucket(&state->bytes, (double)sent)] += 1;
        ((double *)size_sum->buf)[state->bytes.n + 1] += sent;
        *(double *)active->buf -= 1;
        PyObject *look_ns = OF_THE_COUNTS(OF(exchange, COUNTS), LOOK_NS);
        if (look_ns == NULL || !PyLong_Check(look_ns) || ended_ns >= PyLong_AsLongLong(look_ns)) {
            PyObject *of_seconds = PyFloat_FromDouble(seconds);
            PyObject *nothing = of_seconds ? PyObject_CallMethodObjArgs(exchange, EXEMPLIFY, of_seconds, views[5], NULL) : NULL;
            Py_XDECREF(of_seconds);
            Py_XDECREF(nothing);
            result = nothing == NULL ? -1 : 1;
        }
    }
    Py_DECREF(known);
    return result;
}

static PyObject *sending(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    State *state = PyModule_GetState(module);
    if (!is_exchange(state, args, n, 2, "sending"))
        return NULL;
    PyObject *exchange = args[0], *message = args[1], *kind = get(message, TYPE);
    if (kind == NULL)
        goto unusual;
    if (is_text(kind, START)) {
        PyObject *status = get(message, STATUS_KEY);
        if (status == NULL)
            goto unusual;
        put(&OF(exchange, STATUS), Py_NewRef(status));
    }
    else if (is_text(kind, BODY)) {
        int counted = count(state, exchange, message);
        if (counted < 0)
            return NULL;
        if (!counted)
            goto unusual;
    }
    else
        goto unusual;
    PyObject *send = OF(exchange, SEND);
    if (send == NULL)
        goto unusual;
    Py_INCREF(send);
    PyObject *answer = PyObject_CallOneArg(send, message);
    Py_DECREF(send);
    return answer;
unusual:
    PyErr_Clear();
    return PyObject_Vectorcall(state->sending, args, 2, NULL);
}

/* --- the application is done ------------------------------------------------------------------------------------------------------ */

static PyObject *done(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    State *state = PyModule_GetState(module);
    if (!is_exchange(state, args, n, 1, "done"))
        return NULL;
    PyObject *exchange = args[0];
    if (OF(exchange, CELLS) != state->done) {
        PyObject *nothing = PyObject_CallMethodNoArgs(exchange, LEFT);
        if (nothing == NULL)
            return NULL;
        Py_DECREF(nothing);
    }
    PyObject *scope = OF(exchange, SCOPE);
    if (scope == NULL || may_have_parent(scope))
        return PyObject_CallOneArg(state->done_in_python, exchange);
    PyObject *path = get(scope, PATH);
    put(&OF(exchange, HEADERS), Py_NewRef(state->nothing));
    put(&OF(exchange, ASKED_PATH), Py_NewRef(path == NULL ? state->no_text : path));
    put(&OF(exchange, SCOPE), Py_NewRef(state->gone));
    put(&OF(exchange, RECEIVE), Py_NewRef(state->receive_no_more));
    put(&OF(exchange, SEND), Py_NewRef(state->send_no_more));
    Py_RETURN_NONE;
}

/* --- the module ------------------------------------------------------------------------------------------------------------------- */

static int find(PyObject *type, const char *const *names, int n, Py_ssize_t *offsets) {
    for (int i = 0; i < n; i++) {
        PyObject *field = PyObject_GetAttrString(type, names[i]);
        if (field == NULL)
            return -1;
        int is_slot = Py_IS_TYPE(field, &PyMemberDescr_Type);
        if (is_slot)
            offsets[i] = ((PyMemberDescrObject *)field)->d_member->offset;
        else
            PyErr_Format(PyExc_TypeError, "`%s` is no slot of %R", names[i], type);
        Py_DECREF(field);
        if (!is_slot)
            return -1;
    }
    return 0;
}

static int read_bounds(PyObject *given, Bounds *bounds) {
    if (!PyTuple_Check(given) || PyTuple_GET_SIZE(given) > MAX_BOUNDS) {
        PyErr_SetString(PyExc_TypeError, "bounds are a tuple, and not that many");
        return -1;
    }
    bounds->n = PyTuple_GET_SIZE(given);
    for (Py_ssize_t i = 0; i < bounds->n; i++)
        bounds->at[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(given, i));
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *bind(PyObject *module, PyObject *args, PyObject *named) {
    static char *names[] = {"exchange", "counts", "hooks", "done", "gone", "seen", "tell", "now", "draw", "modules", "sending",
                            "done_in_python", "receive_no_more", "send_no_more", "seconds", "sizes", NULL};
    State *state = PyModule_GetState(module);
    PyObject *exchange, *counts, *hooks, *of_done, *gone, *seen, *tell, *now, *draw, *modules, *of_sending, *in_python;
    PyObject *no_receive, *no_send, *seconds, *sizes;
    if (!PyArg_ParseTupleAndKeywords(args, named, "$O!O!OOOOOOOO!OOOOOO", names, &PyType_Type, &exchange, &PyType_Type, &counts, &hooks,
                                     &of_done, &gone, &seen, &tell, &now, &draw, &PyDict_Type, &modules, &of_sending, &in_python,
                                     &no_receive, &no_send, &seconds, &sizes))
        return NULL;
    if (find(exchange, SLOTS, N_SLOTS, state->slot) < 0 || find(counts, OF_COUNTS, N_OF_COUNTS, state->of_counts) < 0
        || find((PyObject *)Py_TYPE(hooks), OF_HOOKS, N_OF_HOOKS, state->of_hooks) < 0 || read_bounds(seconds, &state->seconds) < 0
        || read_bounds(sizes, &state->bytes) < 0)
        return NULL;
    PyObject *zero = PyLong_FromLong(0), *nothing = PyTuple_New(0), *no_text = PyUnicode_FromString(""), *bits = PyLong_FromLong(56);
    PyObject *values[] = {exchange, counts, hooks, of_done, gone, seen, tell, now, draw, modules, of_sending, in_python,
                          no_receive, no_send, zero, nothing, no_text, bits};
    PyObject **places[] = HELD(state);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(places); i++)
        put(places[i], Py_XNewRef(values[i]));
    Py_XDECREF(zero);
    Py_XDECREF(nothing);
    Py_XDECREF(no_text);
    Py_XDECREF(bits);
    if (PyErr_Occurred())
        return NULL;
    PyObject *methods = PyTuple_New(2);
    const char *const of_class[] = {"sending", "done"};
    for (Py_ssize_t i = 0; methods != NULL && i < 2; i++) {
        PyObject *function = PyObject_GetAttrString(module, of_class[i]), *method = function ? PyInstanceMethod_New(function) : NULL;
        Py_XDECREF(function);
        if (method == NULL)
            Py_CLEAR(methods);
        else
            PyTuple_SET_ITEM(methods, i, method);
    }
    return methods;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    PyObject **places[] = HELD(state);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(places); i++)
        Py_VISIT(*places[i]);
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    PyObject **places[] = HELD(state);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(places); i++)
        Py_CLEAR(*places[i]);
    return 0;
}

static int run(PyObject *module) {
    for (size_t i = 0; i < Py_ARRAY_LENGTH(TEXTS); i++)
        if (*TEXTS[i].place == NULL && (*TEXTS[i].place = PyUnicode_InternFromString(TEXTS[i].text)) == NULL)
            return -1;
    return PyModule_AddStringConstant(module, "SOURCE_DIGEST", SOURCE_DIGEST);
}

static PyMethodDef METHODS[] = {
    {"bind", (PyCFunction)(void (*)(void))bind, METH_VARARGS | METH_KEYWORDS, "Learn the classes; gives two methods of an Exchange."},
    {"begin", (PyCFunction)(void (*)(void))begin, METH_FASTCALL, "As `asgi_exchange.begin`."},
    {"start", (PyCFunction)(void (*)(void))start, METH_FASTCALL, "As `asgi_exchange.start`."},
    {"sending", (PyCFunction)(void (*)(void))sending, METH_FASTCALL, "As `Exchange.sending`."},
    {"done", (PyCFunction)(void (*)(void))done, METH_FASTCALL, "As `Exchange.done`."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot OF_MODULE[] = {
    {Py_mod_exec, (void *)run},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}, /* TEXTS are one interpreter's; others get the Python */
#endif
    {0, NULL},
};
static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_exchange", "The usual request, compiled.", sizeof(State), METHODS, OF_MODULE, traverse, clear, NULL,
};

PyMODINIT_FUNC PyInit__exchange(void) { return PyModuleDef_Init(&MODULE); }
