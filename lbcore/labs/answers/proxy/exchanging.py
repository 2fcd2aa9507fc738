"""Lab 07, exercise 4: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import asyncio
import contextlib

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
TWICE = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


@right("exchange")
async def exchange_in_two_parts(method, request, pool, client):
    """First an answer, then its delivery."""

    async def answered():
        for _ in range(3):
            try:
                backend = await pool.take()
            except ConnectionError:
                continue
            try:
                await backend.send(request)
                return backend, await backend.head()
            except ConnectionError:
                backend.close()
                if method not in TWICE:
                    return None, None
            except BaseException:
                backend.close()
                raise
        return None, None

    backend, answer = await answered()
    if backend is None:
        await client.send(BAD_GATEWAY)
        return
    done = False
    try:
        await client.send(answer.head)
        done = await delivered(backend, answer.length, client)
    finally:
        backend.close() if not done or answer.closes or backend.unread else pool.keep(backend)


async def delivered(backend, left, client):
    """Whether all of it was sent; if not, the client knows."""
    while left > 0:
        piece = await backend.read(min(left, 65536))
        if piece == b"":
            client.abort()
            return False
        await client.send(piece)
        left -= len(piece)
    return True


@right("exchange")
async def exchange_by_stack(method, request, pool, client, attempt=1):
    """One attempt; further ones by calling itself."""
    again = attempt < 3
    async with contextlib.AsyncExitStack() as stack:
        try:
            backend = await pool.take()
            stack.callback(backend.close)
            again = again and method in TWICE
            await backend.send(request)
            answer = await backend.head()
        except ConnectionError:
            answer = None
        if answer is not None:
            again = False
            await client.send(answer.head)
            if await delivered(backend, answer.length, client) and not (answer.closes or backend.unread):
                stack.pop_all()
                pool.keep(backend)
    if again:
        await exchange_by_stack(method, request, pool, client, attempt + 1)
    elif answer is None:
        await client.send(BAD_GATEWAY)


async def life(method, request, pool, client, *, again, keep, attempts=3, stop=None, deliver=delivered, closing=True):
    """A proxy with its decisions as arguments: which of them is the mistake, the caller knows."""
    for _ in range(attempts):
        backend, kept = None, False
        try:
            backend = await pool.take()
            await backend.send(request)
            answer = await backend.head()
        except ConnectionError:
            if backend:
                backend.close()
            if backend and not again(method):
                break
            continue
        try:
            await client.send(answer.head)
            kept = keep(await deliver(backend, answer.length, client), answer, backend)
        finally:
            if kept:
                pool.keep(backend)
            elif closing:
                backend.close()
        return
    if stop is None:
        await client.send(BAD_GATEWAY)


def only_idempotent(method):
    return method in TWICE


def in_order(done, answer, backend):
    return done and not answer.closes and not backend.unread


def living(**mistake):
    return {"again": only_idempotent, "keep": in_order} | mistake


@wrong("exchange", "done_twice")
async def exchange_always_again(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: True))


@wrong("exchange", "done_twice")
async def exchange_post_is_idempotent(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: method in (*TWICE, "POST")))


@wrong("exchange", "gave_up")
async def exchange_once(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: False))


@wrong("exchange", "gave_up")
async def exchange_gets_only(method, request, pool, client):
    await life(method, request, pool, client, **living(again=lambda method: method == "GET"))


@wrong("exchange", "one_more")
async def exchange_four(method, request, pool, client):
    await life(method, request, pool, client, **living(attempts=4))


@wrong("exchange", "kept_though_close")
async def exchange_keeps_closing(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda done, answer, backend: done and not backend.unread))


@wrong("exchange", "kept_unread")
async def exchange_keeps_unread(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda done, answer, backend: done and not answer.closes))


@wrong("exchange", "kept_broken")
async def exchange_keeps_broken(method, request, pool, client):
    keep = lambda done, answer, backend: not answer.closes and not backend.unread  # noqa: E731
    await life(method, request, pool, client, **living(keep=keep))


@wrong("exchange", "never_kept")
async def exchange_closes(method, request, pool, client):
    await life(method, request, pool, client, **living(keep=lambda *_: False))


@wrong("exchange", "left_open")
async def exchange_forgets(method, request, pool, client):
    await life(method, request, pool, client, **living(closing=False))


@wrong("exchange", "no_answer")
async def exchange_silent(method, request, pool, client):
    await life(method, request, pool, client, **living(stop=True))


@wrong("exchange", "cut_not_told")
async def exchange_no_abort(method, request, pool, client):
    async def deliver(backend, left, client):
        while left and (piece := await backend.read(left)):
            await client.send(piece)
            left -= len(piece)
        return not left

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "held_back")
async def exchange_collects(method, request, pool, client):
    async def deliver(backend, left, client):
        body = b""
        while len(body) < left:
            piece = await backend.read(left - len(body))
            if not piece:
                client.abort()
                return False
            body += piece
        await client.send(body)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "too_much")
async def exchange_greedy(method, request, pool, client):
    async def deliver(backend, left, client):
        while left > 0:
            piece = await backend.read(65536)
            if not piece:
                client.abort()
                return False
            await client.send(piece)
            left -= len(piece)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "waits")
async def exchange_to_the_end(method, request, pool, client):
    async def deliver(backend, left, client):
        while piece := await backend.read(65536):
            await client.send(piece)
        return True

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "sent_twice")
async def exchange_starts_over(method, request, pool, client):
    """What breaks within the body is begun anew."""
    for _ in range(3):
        try:
            backend = await pool.take()
        except ConnectionError:
            continue
        try:
            await backend.send(request)
            answer = await backend.head()
            await client.send(answer.head)
            left = answer.length
            while left:
                piece = await backend.read(left)
                if not piece:
                    raise ConnectionResetError("the backend")
                await client.send(piece)
                left -= len(piece)
            backend.close() if answer.closes or backend.unread else pool.keep(backend)
            return
        except ConnectionError:
            backend.close()
            if method not in TWICE:
                break
        except asyncio.CancelledError:
            backend.close()
            raise
    await client.send(BAD_GATEWAY)


@wrong("exchange", "tried_for_the_dead")
async def exchange_one_try(method, request, pool, client):
    """All in one `try`: whose ConnectionError was it?"""
    backend, begun = None, False
    for _ in range(3):
        try:
            backend = None
            backend = await pool.take()
            await backend.send(request)
            answer = await backend.head()
            await client.send(answer.head)
            begun = True
            done = await delivered(backend, answer.length, client)
            pool.keep(backend) if in_order(done, answer, backend) else backend.close()
            return
        except ConnectionError:
            if backend:
                backend.close()
            if begun:
                return
            if backend and method not in TWICE:
                break
        except BaseException:
            backend.close()
            raise
    await client.send(BAD_GATEWAY)


@wrong("exchange", "left_open")
async def exchange_not_finally(method, request, pool, client):
    """Closes where it thinks of it: not when the client leaves."""
    backend = await taken(pool)
    if backend is None:
        return await client.send(BAD_GATEWAY)
    try:
        await backend.send(request)
        answer = await backend.head()
    except ConnectionError:
        backend.close()
        if method in TWICE:
            return await exchange_by_stack(method, request, pool, client, 2)
        return await client.send(BAD_GATEWAY)
    await client.send(answer.head)
    done = await delivered(backend, answer.length, client)
    return pool.keep(backend) if in_order(done, answer, backend) else backend.close()


async def taken(pool):
    """A connection, or None."""
    for _ in range(3):
        with contextlib.suppress(ConnectionError):
            return await pool.take()
    return None


@wrong("exchange", "kept_half_read")
async def exchange_keeps_always(method, request, pool, client):
    async def deliver(backend, left, client):
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            return await delivered(backend, left, client)
        return None  # the client left: the backend did nothing wrong

    def keep(done, answer, backend):
        return done is not False and not answer.closes and (done is None or not backend.unread)

    await life(method, request, pool, client, **living(deliver=deliver, keep=keep))


@wrong("exchange", "another_answer")
async def exchange_body_only(method, request, pool, client):
    async def deliver(backend, left, client):
        done = await delivered(backend, left, client)
        await client.send(b"\r\n")
        return done

    await life(method, request, pool, client, **living(deliver=deliver))


@wrong("exchange", "not_awaited")
def exchange_plain(method, request, pool, client):
    """Not a coroutine function."""
    return pool
