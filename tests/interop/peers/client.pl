#!/usr/bin/perl
# Drives Gearman::Client; see README.md.
use strict;
use warnings;

use Gearman::Client;
use JSON::PP;

my ($host, $port) = @ARGV;
my $exceptions = 0;
my $patience   = 10;
$| = 1;

sub client {
    return Gearman::Client->new(
        job_servers => ["$host:$port"],
        exceptions  => $exceptions,
    );
}

sub options {
    my ($asked) = @_;
    return (
        timeout  => $patience,
        priority => $asked->{priority} || 'normal',
        defined $asked->{unique} ? (uniq => $asked->{unique}) : (),
    );
}

sub answer {
    my ($asked)  = @_;
    my $verb     = $asked->{verb};
    my $function = $asked->{function};
    my $workload = pack 'H*', $asked->{workload} // '';
    my $client   = client();
    if ($verb eq 'call') {
        my ($failed, $raised);
        my $result = $client->do_task(
            $function,
            \$workload,
            {
                options($asked),
                on_fail => sub { $failed = $_[0] // 'failed' },
                $exceptions ? (on_exception => sub { $raised = $_[0] }) : (),
            }
        );
        return { exception => unpack 'H*', $raised } if defined $raised;
        return { error     => 'timeout' } if defined $failed && $failed =~ /timeout/;
        return { failed    => JSON::PP::true } if defined $failed;
        return { result    => unpack 'H*', $$result };
    }
    if ($verb eq 'task') {
        my @events;
        my $note = sub { my $kind = shift; push @events, [$kind, map { unpack 'H*', $_ } @_] };
        my $set  = $client->new_task_set;
        my $handle = $set->add_task(
            $function,
            \$workload,
            {
                options($asked),
                on_data      => sub { $note->('data',    ${ $_[0] }) },
                on_warning   => sub { $note->('warning', ${ $_[0] }) },
                on_status    => sub { $note->('status',  @_) },
                on_complete  => sub { $note->('complete', ${ $_[0] }) },
                on_fail      => sub { $note->('fail') },
                on_exception => sub { $note->('exception', $_[0]) },
            }
        );
        unshift @events, ['created', unpack 'H*', (split m{//}, $handle)[1]];
        $set->wait(timeout => $patience);
        return { events => \@events };
    }
    if ($verb eq 'background') {
        my $handle = $client->dispatch_background($function, \$workload, { options($asked) });
        return { handle => (split m{//}, $handle)[1] };
    }
    if ($verb eq 'many') {
        my @results;
        my $set    = $client->new_task_set;
        my $number = 0;
        for my $one (@{ $asked->{workloads} }) {
            my $mine  = $number++;
            my $bytes = pack 'H*', $one;
            $set->add_task($function, \$bytes,
                { on_complete => sub { $results[$mine] = unpack 'H*', ${ $_[0] } } });
        }
        $set->wait(timeout => $patience);
        return { results => \@results };
    }
    if ($verb eq 'status') {
        my $status = $client->get_status("$host:$port//$asked->{handle}");
        my $progress = $status->progress || [0, 0];
        return { status => [$status->known + 0, $status->running + 0, map { $_ + 0 } @$progress] };
    }
    if ($verb eq 'exceptions') { $exceptions = 1;                 return { ok => JSON::PP::true } }
    if ($verb eq 'patience')   { $patience   = $asked->{seconds}; return { ok => JSON::PP::true } }
    if ($verb eq 'version') {
        return { version => "$Gearman::Client::VERSION (Perl $^V)" };
    }
    if ($verb eq 'jobs') {
        # What the library reads out of the text protocol.
        my $status = $client->get_job_server_status();
        return { status => $status };
    }
    return { error => 'what?' };
}

while (my $line = <STDIN>) {
    my $answer = eval { answer(decode_json($line)) } || { error => "$@" };
    print encode_json($answer), "\n";
}
